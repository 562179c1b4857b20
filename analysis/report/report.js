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

// The filter of long tables: words that a row has, and conditions on its columns such as `bits<=16`.

const CONDITION = /^([^<>=]+)(<=|>=|=|<|>)(.+)$/;

function meets(row, [, name, sign, wanted], headings) {
  const column = [(heading) => heading.split(" ").includes(name), (heading) => heading.startsWith(name)]
    .map((fits) => headings.findIndex(fits)).find((place) => place >= 0) ?? -1;
  if (column < 0) return false;
  const found = key(row, column);
  const number = Number(wanted);
  if (found.number === null || Number.isNaN(number)) return sign === "=" && found.text.toLowerCase() === wanted;
  return { "<=": found.number <= number, ">=": found.number >= number, "=": found.number === number,
    "<": found.number < number, ">": found.number > number }[sign];
}

for (const form of document.querySelectorAll("form.filter")) {
  const table = document.getElementById(form.dataset.table).closest("table");
  const headings = [...table.querySelectorAll("tr.headings > th")].map((heading) => heading.textContent.trim().toLowerCase());
  const rows = [...table.querySelectorAll("tbody > tr:not(.section)")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, i) => {
      const fits = words.every((word) => {
        const condition = CONDITION.exec(word);
        return condition ? meets(row, condition, headings) : texts[i].includes(word);
      });
      row.classList.toggle("filtered-out", !fits);
      shown += fits;
    });
    form.querySelector("[role=status]").textContent = `${shown} of ${rows.length} rows`;
  });
}

// A page without files beside it has its pictures all the same.

for (const note of document.querySelectorAll("[data-picture]")) {
  const href = note.closest("article").querySelector(".picture img").src;
  note.prepend(Object.assign(document.createElement("a"), { href, download: note.dataset.picture, textContent: "SVG" }), ". ");
}

// What is pointed at in a figure, with a mouse, a finger or the arrow keys.

const hint = document.createElement("div");
hint.className = "hint";
hint.setAttribute("role", "status");
document.body.append(hint);
const NEAR = 24; // pixels

function describe([, , who, about, where, mean, low, high, n], names) {
  const lines = [names[who], [names[about], where].filter(Boolean).join(": ")];
  const interval = low === null ? "" : ` (${low} to ${high})`;
  return [...lines, `${mean}${interval}, n = ${n}`].filter(Boolean);
}

function show(picture, mark, names) {
  const box = picture.querySelector("img").getBoundingClientRect();
  hint.replaceChildren(...describe(mark, names).map((line) => Object.assign(document.createElement("p"), { textContent: line })));
  hint.classList.add("shown");
  const x = box.left + scrollX + box.width * mark[0] / 1000;
  const y = box.top + scrollY + box.height * mark[1] / 1000;
  const left = Math.min(x + 12, scrollX + document.documentElement.clientWidth - hint.offsetWidth - 8);
  hint.style.left = `${Math.max(left, 8)}px`;
  hint.style.top = `${y - hint.offsetHeight - 12 < scrollY ? y + 12 : y - hint.offsetHeight - 12}px`;
  picture.style.setProperty("--x", `${x - picture.getBoundingClientRect().left - scrollX}px`);
  picture.style.setProperty("--y", `${y - picture.getBoundingClientRect().top - scrollY}px`);
  picture.classList.add("pointed");
}

function hide(picture) {
  hint.classList.remove("shown");
  hint.replaceChildren();
  picture.classList.remove("pointed");
}

for (const picture of document.querySelectorAll("[data-marks]")) {
  const [names, marks] = JSON.parse(picture.dataset.marks);
  let at = -1;
  picture.tabIndex = 0;
  picture.addEventListener("pointermove", (event) => {
    const box = picture.querySelector("img").getBoundingClientRect();
    const distances = marks.map((mark) => Math.hypot(
      box.left + box.width * mark[0] / 1000 - event.clientX, box.top + box.height * mark[1] / 1000 - event.clientY));
    const nearest = distances.indexOf(Math.min(...distances));
    if (distances[nearest] > NEAR) { at = -1; hide(picture); } else if (nearest !== at) { at = nearest; show(picture, marks[at], names); }
  });
  picture.addEventListener("pointerleave", () => { at = -1; hide(picture); });
  picture.addEventListener("blur", () => hide(picture));
  picture.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") hide(picture);
    if (!step) return;
    event.preventDefault();
    at = (at + step + marks.length) % marks.length;
    show(picture, marks[at], names);
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
