"""The report in a real browser: it opens from disk, asks nothing of a network, and its controls work."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from analysis.claims.product import CLAIMS
from tests.analysis import made_up, made_up_images, small_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

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
    assert len(widths) == 2
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


def test_figures_stay_on_white_in_the_dark(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    background = "element => getComputedStyle(element).backgroundColor"
    assert page.locator(".picture").first.evaluate(background) == "rgb(255, 255, 255)"
    assert page.locator("body").evaluate(background) != "rgb(255, 255, 255)"
