"use strict";

// Sorting: the last row of headings gets buttons. Without this script the page has no controls and lacks nothing else.

const NUMBER = /^[-+]?\d+(\.\d+)?(e[-+]?\d+)?/i;

function key(row, column) {
  const cell = row.cells[column];
  const text = (cell.dataset.key ?? cell.textContent).trim();
  const number = NUMBER.exec(text.replaceAll(",", "").replaceAll("−", "-"));
  return { text, number: number ? Number(number[0]) : null };
}

function compare(a, b, numeric, direction) {
  if (!numeric) return direction * a.text.localeCompare(b.text, "en", { numeric: true });
  if (a.number === null || b.number === null) return (a.number === null) - (b.number === null);
  return direction * (a.number - b.number);
}

function sortBy(table, heading, column, direction) {
  const whole = table.dataset.units === "tbody";
  const numeric = heading.classList.contains("number") || heading.classList.contains("ranked");
  for (const parent of whole ? [table] : table.tBodies) {
    const units = [...(whole ? table.tBodies : parent.rows)].filter((unit) => !unit.classList.contains("section"));
    const keyed = units.map((unit) => [unit, key(whole ? unit.rows[0] : unit, column)]);
    keyed.sort(([, a], [, b]) => compare(a, b, numeric, direction));
    parent.append(...keyed.map(([unit]) => unit));
  }
}

for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.querySelectorAll("tr.headings > th")];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const ascending = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sortBy(table, heading, column, ascending ? 1 : -1);
    });
  });
}

// The filter of the claims.

const form = document.getElementById("claim-filter");
const claims = [...document.querySelectorAll("table.claims > tbody")];

function filterClaims() {
  const verdicts = new FormData(form).getAll("verdict");
  const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const claim of claims) {
    const text = claim.textContent.toLowerCase();
    const fits = verdicts.includes(claim.dataset.verdict) && words.every((word) => text.includes(word));
    claim.classList.toggle("filtered-out", !fits);
    shown += fits;
  }
  document.getElementById("claim-count").textContent = `${shown} of ${claims.length} claims shown`;
}

form.hidden = false;
form.addEventListener("input", filterClaims);
form.addEventListener("submit", (event) => event.preventDefault());

// A link to a claim that is filtered out shows all claims again.
for (const link of document.querySelectorAll(".glance a")) {
  link.addEventListener("click", () => {
    if (!document.querySelector(link.getAttribute("href")).classList.contains("filtered-out")) return;
    form.reset();
    filterClaims();
  });
}

// The page of a sweep that runs reloads itself, unless someone is at work in it. What was unfolded stays unfolded.

const live = document.getElementById("live");

function foldId(details) {
  const place = details.closest("[aria-labelledby]")?.getAttribute("aria-labelledby") ?? "";
  return `${place} ${details.querySelector("summary").textContent}`;
}

function isBusy() {
  return document.hidden || live.elements.paused.checked || document.activeElement?.matches("input, select");
}

if (live) {
  live.hidden = false;
  const open = new Set(JSON.parse(sessionStorage.getItem("open") ?? "[]"));
  document.querySelectorAll("details").forEach((details) => { details.open ||= open.has(foldId(details)); });
  setInterval(() => {
    if (isBusy()) return;
    sessionStorage.setItem("open", JSON.stringify([...document.querySelectorAll("details[open]")].map(foldId)));
    location.reload();
  }, 1000 * Number(document.body.dataset.reload));
}

// Paper cannot be unfolded.

let unfolded = [];
addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("details:not([open])")];
  unfolded.forEach((details) => { details.open = true; });
});
addEventListener("afterprint", () => unfolded.forEach((details) => { details.open = false; }));
