"""The report in a real browser: it opens from disk, asks nothing of a network, and its controls work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from analysis.claims.product import CLAIMS
from analysis.figures import generic
from tests.analysis import made_up, made_up_images, small_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.long

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
"""A browser that calls nobody on its own account."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser is installed: none of {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report on made-up stores of both trainables, with a failed cell."""
    folder = tmp_path_factory.mktemp("page")
    shared = {"dimension": [8, 16], "codebook_size": 16, "factors": [16, 64], "init_bound": 1.0}
    seeds = range(1000, 1009)
    blobs = [
        *made_up.rows(seeds, quantizer="vq", **shared),
        *made_up.rows(seeds, quantizer="dvq", slices=2, **shared),
    ]
    blobs[0] |= {"status": "error", "error": "Traceback:\n" + "an endless line of one word".replace(" ", "_") * 20}
    images = made_up_images.sweep(made_up_images.SMALL[:2])
    stores = [made_up.write(folder / "blobs", blobs), made_up_images.write(folder / "images", images)]
    items = {**small_report.ITEMS, "again": small_report.ITEMS["cost"]}
    (folder / "report.html").write_bytes(small_report.report_of(*stores, items=items))
    return (folder / "report.html").as_uri()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.goto(address)
    yield page
    page.close()


def shown_claims(page: Page) -> list[str]:
    return [row.text_content() or "" for row in page.locator(".claims > tbody:visible > tr:first-child > th").all()]


def test_it_opens_from_disk_without_errors_or_requests(browser: Browser, address: str) -> None:
    page = browser.new_page()
    problems: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requests.append(request.url.partition(":")[0]))
    page.goto(address)
    page.wait_for_load_state("networkidle")
    assert problems == []
    assert "file" in requests
    assert set(requests) <= {"file", "data"}
    widths = page.locator("img").evaluate_all("images => images.map(image => image.naturalWidth)")
    assert len(widths) == 4
    assert all(width > 0 for width in widths)
    assert page.locator("body").evaluate("body => getComputedStyle(body).maxWidth") != "none"
    page.close()


def test_claims_are_filtered_by_verdict_and_by_text(page: Page) -> None:
    status = page.get_by_role("status")
    assert status.text_content() == "19 of 19 claims shown"
    page.get_by_role("checkbox", name="not run").uncheck()
    decided = page.locator(".claims > tbody:not([data-verdict='not run'])").count()
    assert 0 < decided < 19
    assert len(shown_claims(page)) == decided
    assert status.text_content() == f"{decided} of 19 claims shown"
    page.get_by_role("checkbox", name="not run").check()
    page.get_by_label("Claims with the text").fill("pixelcnn auto-regressive")
    assert shown_claims(page) == ["15"]
    page.get_by_role("link", name="Claim 1:").click()
    assert len(shown_claims(page)) == 19


def test_claims_are_sorted_by_their_headings(page: Page) -> None:
    table = page.locator("table.claims")
    table.get_by_role("button", name="#").click()
    assert shown_claims(page) == [claim.number for claim in reversed(CLAIMS)]
    table.get_by_role("button", name="Verdict").click()
    heading = table.get_by_role("columnheader", name="Verdict")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert table.locator("[aria-sort]").count() == 1
    keys = table.locator("td[data-label=Verdict]").evaluate_all("cells => cells.map(cell => Number(cell.dataset.key))")
    assert keys == sorted(keys)
    assert len(set(keys)) > 1


def test_tables_are_sorted_as_numbers_within_their_sections(page: Page) -> None:
    table = page.locator("table", has_text="Time that cells took")
    for _ in range(2):
        table.get_by_role("button", name="cells").click()
    sections = [
        [int(text) for text in section.locator("tr:not(.section) > :nth-child(3)").all_text_contents()]
        for section in table.locator("tbody").all()
    ]
    assert sections == [[6], [36, 36]]


def test_other_readings_unfold(page: Page) -> None:
    first = page.locator("#claim-1")
    assert not first.locator(".readings").is_visible()
    first.locator("summary").click()
    assert first.locator(".readings").is_visible()


@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_never_scrolls_sideways(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.locator("details").evaluate_all("all => all.forEach(details => { details.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_on_paper_all_is_unfolded_and_there_are_no_controls(page: Page) -> None:
    page.get_by_role("checkbox", name="not run").uncheck()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".readings").first.is_visible()
    assert len(shown_claims(page)) == 19
    assert not page.locator("form.controls").is_visible()
    assert not page.get_by_role("navigation").is_visible()


def test_figures_are_dark_in_the_dark_and_white_on_paper(page: Page) -> None:
    its = "element => getComputedStyle(element)"
    for media, scheme, background, is_turned in (
        ("screen", "light", "rgb(255, 255, 255)", False), ("screen", "dark", "rgb(23, 23, 23)", True),
        ("print", "dark", "rgb(255, 255, 255)", False),
    ):  # fmt: skip
        page.emulate_media(media=media, color_scheme=scheme)  # type: ignore[arg-type]
        assert page.locator(".picture").first.evaluate(f"{its}.backgroundColor") == background
        filters = page.locator(".picture img").first.evaluate(f"{its}.filter")
        assert ("invert" in filters) == is_turned


def test_photographs_keep_their_colours_in_the_dark(browser: Browser, tmp_path: Path) -> None:
    report = small_report.report_of(
        made_up.write(tmp_path / "store", small_report.cells()), items={"shown": small_report.PHOTOGRAPH}
    )
    (tmp_path / "report.html").write_bytes(report)
    page = browser.new_page(color_scheme="dark")
    page.goto((tmp_path / "report.html").as_uri())
    assert page.locator(".picture.photographs img").first.evaluate("each => getComputedStyle(each).filter") == "none"
    page.close()


def test_a_page_without_files_beside_it_holds_numbers_and_pictures(browser: Browser, tmp_path: Path) -> None:
    cells = [*made_up.rows(3, quantizer="vq", **MANY)]
    items = {"over": generic.item("static_prior", "over-axes")}
    store = made_up.write(tmp_path / "store", cells)
    (tmp_path / "report.html").write_bytes(small_report.report_of(store, items=items, has_files=False))
    page = browser.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    for name, begins in (("SVG", "<svg "), ("CSV", "dimension,")):
        with page.expect_download() as downloading:
            page.locator("article").get_by_role("link", name=name, exact=True).first.click()
        content = Path(downloading.value.path()).read_text()
        assert downloading.value.suggested_filename == f"static_prior-over-axes.{name.lower()}"
        assert begins in content[:200]
    assert content.count("\n") == 9  # a line for each point, and the names
    page.close()


MANY = {"dimension": [2, 4, 8, 16], "codebook_size": 16, "factors": [16, 64], "init_bound": 1.0}


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report with a generic figure and a table of every point."""
    folder = tmp_path_factory.mktemp("figures")
    held = [*made_up.rows(4, quantizer="vq", **MANY), *made_up.rows(4, quantizer="dvq", slices=2, **MANY)]
    store = made_up.write(folder / "blobs", held)
    items = {end: generic.item("static_prior", end) for end in ("over-axes", "points")}
    (folder / "report.html").write_bytes(small_report.report_of(store, items=items))
    return (folder / "report.html").as_uri()


def point_at(page: Page, picture: Locator, mark: list[Any]) -> None:
    box = picture.locator("img").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * mark[0] / 1000, box["y"] + box["height"] * mark[1] / 1000 + 2)


@pytest.mark.parametrize(("width", "shown"), [(1200, "wide"), (390, "narrow")])
def test_what_is_pointed_at_is_named_with_its_mean_and_interval(
    browser: Browser, figures: str, width: int, shown: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(figures)
    picture = page.locator(".picture:visible")
    assert picture.count() == 1
    assert shown in str(picture.get_attribute("class"))
    picture.scroll_into_view_if_needed()
    names, marks = json.loads(str(picture.get_attribute("data-marks")))
    for mark in (marks[0], marks[-1]):
        point_at(page, picture, mark)
        said = page.locator(".hint").inner_text()
        assert names[mark[2]] in said
        assert f"{mark[5]:g} ({mark[6]:g} to {mark[7]:g}), n = 4" in said
    assert {names[mark[2]].partition(",")[0] for mark in marks} == {"VQ", "DVQ"}
    page.mouse.move(1, 1)
    assert page.locator(".hint").inner_text() == ""
    page.close()


def test_marks_lie_where_the_picture_has_them(browser: Browser, figures: str) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 900}, bypass_csp=True)
    page.goto(figures)
    _, marks = json.loads(str(page.locator(".picture.wide").get_attribute("data-marks")))
    drawn = page.evaluate(
        """() => {
          const svg = decodeURIComponent(document.querySelector(".picture.wide img").src.split(",").slice(1).join(","));
          const root = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
          const [, top, width, height] = root.getAttribute("viewBox").split(" ").map(Number);
          return [...root.querySelectorAll("use")].map((use) =>
            [1000 * use.getAttribute("x") / width, 1000 * (use.getAttribute("y") - top) / height]);
        }"""
    )
    assert len(marks) > 10
    for mark in marks:
        assert min(abs(x - mark[0]) + abs(y - mark[1]) for x, y in drawn) < 0.5
    page.close()


def test_the_arrow_keys_go_from_mark_to_mark_and_say_each(browser: Browser, figures: str) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.goto(figures)
    page.locator(".picture:visible").focus()
    said = []
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        said.append(page.get_by_role("status").filter(has_text="n = 4").inner_text())
    assert len({*said}) == 3
    page.keyboard.press("Escape")
    assert page.locator(".hint").inner_text() == ""
    page.close()


def test_rows_are_found_by_words_and_by_their_columns(browser: Browser, figures: str) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.goto(figures)
    form, rows = page.locator("form.filter"), page.locator("table:has(#table-static_prior-points) tbody tr:visible")
    assert rows.count() == 16
    for text, count in [
        ("dvq", 8),
        ("dvq dimension=4", 2),
        ("d>=8", 8),
        ("d>8 f<64 dvq", 1),
        ("nothing", 0),
        ("n=4", 16),
    ]:
        form.get_by_label("Rows with").fill(text)
        assert rows.count() == count, text
        assert form.get_by_role("status").inner_text() == f"{count} of 16 rows"
    page.close()


def test_points_are_sorted_by_a_column(browser: Browser, figures: str) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.goto(figures)
    table = page.locator("table:has(#table-static_prior-points)")
    table.get_by_role("button", name="test loss").click()
    losses = [float(text) for text in table.locator("tbody tr > td:nth-last-child(3)").all_inner_texts()]
    assert losses == sorted(losses)
    page.close()


def test_the_page_of_a_sweep_that_runs_reloads_itself_and_keeps_what_is_unfolded(
    browser: Browser, tmp_path: Path
) -> None:
    page, path = browser.new_page(), tmp_path / "report.html"
    store = made_up.write(tmp_path / "blobs", made_up.rows(3, quantizer="vq", **MANY))
    content = small_report.report_of(store, reload_seconds=1)
    path.write_bytes(content)
    page.goto(path.as_uri())
    page.get_by_text("sweep.yaml, as run").or_(page.get_by_text("What would decide them")).first.click()
    assert page.locator("details[open]").count() == 1
    path.write_bytes(content.replace(b"What was not made", b"By now"))
    page.get_by_text("By now").wait_for(timeout=30_000)
    page.locator("details[open]").wait_for(state="attached", timeout=30_000)  # its script runs later
    page.get_by_label("Stay as it is").check()
    path.write_bytes(content.replace(b"What was not made", b"Later"))
    page.wait_for_timeout(1500)
    assert page.get_by_text("By now").count() == 1
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_accessibility_checker_finds_nothing(browser: Browser, figures: str, scheme: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme=scheme, bypass_csp=True)
    page.goto(figures)
    page.locator("details").evaluate_all("all => all.forEach(details => { details.open = true; })")
    found = axe.run(page).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
    page.close()
