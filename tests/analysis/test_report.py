from __future__ import annotations

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from analysis.build import Made, make
from analysis.claims import product as claims
from analysis.data.rows import load_rows
from analysis.figures.generic import item
from analysis.output.tables import Section
from analysis.report.findings import _duel, findings
from analysis.report.wording import first_sentences
from dvq_ray.store import Store
from tests.analysis.command_line import analysis, undrawn
from tests.analysis.made_up import made_up_rows, rows, write
from tests.analysis.small_report import SWEEP, cells, from_, report_of

HOSTILE = """<script>alert(1)</script></style></script>'"onload="alert(2)" <img src=x onerror=alert(3)> & <b>"""


class Page(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(*stores: str, **options: Any) -> Page:
    return Page(report_of(*stores, **{"items": {}, **options}))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    location = write(tmp_path_factory.mktemp("report") / "store", cells())
    Store(location).write_sweep(SWEEP)
    return location


@pytest.fixture(scope="module")
def content(store: str) -> bytes:
    return report_of(store)


@pytest.fixture(scope="module")
def page(content: bytes) -> Page:
    return Page(content)


def test_the_page_is_named_after_the_store_and_begins_with_what_was_run(page: Page, store: str) -> None:
    assert "".join(page.words[: page.words.index("Skip to the content")]).split()[0] == "store"
    assert f"6 cells (6 ok) of the static prior, from {store}." in page.text


def test_claims_that_no_cell_decides_are_folded(page: Page) -> None:
    assert "These cells decide none of the paper’s 19 claims." in page.text
    assert "What would decide them" in page.text


def test_captions_are_two_sentences_and_the_rest_unfolds() -> None:
    assert first_sentences("One, e.g. this. Two is 0.5. Three. Four.") == (
        "One, e.g. this. Two is 0.5.",
        "Three. Four.",
    )
    assert first_sentences("Only one.") == ("Only one.", "")


def test_the_findings_are_of_the_tables_that_every_experiment_has() -> None:
    data: dict[str, Any] = {"dimension": 16, "factors": 64}
    cells = made_up_rows(
        [
            *rows(3, quantizer="vq", codebook_size=[16, 256], init_bound=1.0, **data),
            *rows(3, quantizer="kmeans", codebook_size=[16, 256], slices=1, **data),
        ]
    )
    made = [make(item("static_prior", end), cells, allow_missing=False) for end in ("versus", "ranking")]
    first, second, third = findings([each for each in made if isinstance(each, Made)])
    best = r"bits: \S+, K = \d+ has the best test loss, [\d.]+; next is \S+, K = \d+, \+[\d.]+% from it \(.* to .*\)"
    assert re.search(f"^4 {best}", first.text)
    assert re.search(f"^8 {best}", second.text)
    assert third.text == "At equal bits, k-means and VQ differ in none of 2 comparisons."
    assert [each.item for each in (first, third)] == ["static_prior-ranking", "static_prior-versus"]


def test_a_duel_says_who_wins_how_often_and_by_how_much() -> None:
    section = Section(title="At equal bits", rows=[["DVQ", "VQ", "148", "57", "77", "14", "0", "+0.2%"]])
    assert _duel(section, section.rows[0]) == (
        "At equal bits, VQ beats DVQ in 77 of 148 comparisons (57 lost, 14 undecided); median difference of DVQ from "
        "VQ: +0.2%."
    )


def test_every_claim_is_there_with_its_verdict_and_what_decides_it(page: Page) -> None:
    anchors = [attributes["id"] for attributes in page.all("tbody") if attributes.get("id")]
    assert anchors == [f"claim-{claim.number}" for claim in claims.CLAIMS]
    for claim in claims.CLAIMS:
        for words in (claim.paper, claim.where, *(reading.ours for reading in claim.readings)):
            assert " ".join(words.split()) in page.text
    assert page.text.count("What decides it.") == 19


def test_the_files_of_an_item_can_be_had_beside_it(page: Page) -> None:
    files = {str(attributes["href"]) for attributes in page.all("a")}
    assert {"cost.svg", "cost.csv", "cost.json"} <= files


def test_a_figure_is_an_image_of_its_own_with_words_for_those_who_do_not_see_it(page: Page) -> None:
    for image in page.all("img"):
        assert str(image["src"]).startswith("data:image/svg+xml,<svg ")
        assert image["alt"] == "A figure. Drawn: vq at dimension 2, 4. The caption follows."
    assert page.count("img") == 2, "for wide screens and for narrow ones"
    assert "A caption." in page.text
    assert "It <rises>. A figure" in page.text, "what it shows is its heading, with the title beneath"


def test_a_table_is_a_table_with_scopes_and_caption(content: bytes, page: Page) -> None:
    assert "Table 9. Losses." in page.text
    assert "VQ <i>" in page.text
    assert page.count("i") == 0
    assert re.search(rb'<th scope="colgroup" colspan="1" class="group">test</th>', content)
    assert page.count("table") == page.count("caption") == 5
    assert all(heading.get("scope") for heading in page.all("th"))


def test_what_was_not_drawn_is_reported_with_the_reason_and_the_sweeps_to_run(page: Page) -> None:
    assert "refused Nothing in it can be told apart" in page.text
    assert page.text.count("All that it needs is in sweeps/small.yaml or sweeps/large.yaml.") == 1
    assert "learned prior" not in page.text, "which the store has nothing of"


def test_coverage_counts_each_grid_and_shows_the_sweep_file(page: Page) -> None:
    assert "grids: small: {quantizer: vq" in page.text
    assert "small 6 0 0 more 0 0 3" in page.text
    assert "Its sweep file names 9 cells, of which 3 have no row." in page.text


def test_a_uri_is_as_good_as_a_path(store: str) -> None:
    uri = Path(store).as_uri()
    found = page_of(uri)
    assert "small 6 0 0 more 0 0 3" in found.text
    assert f"from {uri}." in found.text


def test_a_store_without_sweep_file_says_so(tmp_path: Path) -> None:
    assert "This store keeps no sweep file." in page_of(write(tmp_path / "store", cells())).text


def test_a_sweep_file_of_another_version_is_shown_all_the_same(tmp_path: Path) -> None:
    location = write(tmp_path / "store", cells())
    Store(location).write_sweep(SWEEP + "colour: blue\n")
    found = page_of(location)
    assert "its sweep file is not valid in this version" in found.text
    assert "colour: unknown key" in found.text
    assert "colour: blue" in found.text


def test_failures_are_counted_by_status_with_one_traceback_each(tmp_path: Path) -> None:
    held = cells()
    held[0] |= {"status": "error", "error": "Traceback of one"}
    held[1] |= {"status": "error", "error": "Traceback of another"}
    held[2] |= {"status": "diverged", "error": "the loss is not finite"}
    found = page_of(write(tmp_path / "store", held))
    assert "2 cells with status error" in found.text
    assert "1 cell with status diverged" in found.text
    assert found.text.count("Traceback of") == 1
    assert "(1 diverged, 2 error, 3 ok)" in found.text


def test_rows_of_one_environment_bring_no_warning(page: Page) -> None:
    assert "All rows of a trainable come from one commit" in page.text
    assert "numpy 2.4.6, torch 2.13.0" in page.text
    assert not [attributes for attributes in page.all("div") if attributes.get("class") == "warning"]


def test_rows_of_mixed_environments_are_warned_of_by_name_and_count(tmp_path: Path) -> None:
    held = cells()
    other = json.dumps({"numpy": "2.4.6", "torch": "2.14.0", "ray": "2.60.0"})
    held[:2] = from_(held[:2], run_versions=other, run_device="a GPU", run_host="there", run_commit="beef-dirty")
    text = page_of(write(tmp_path / "store", held)).text
    assert "Static prior: rows of different versions of torch are mixed: 2.13.0 in 4 rows; 2.14.0 in 2 rows." in text
    assert "versions of ray are mixed: not recorded in 4 rows; 2.60.0 in 2 rows." in text
    assert "versions of numpy" not in text
    assert "rows of different devices are mixed: a processor in 4 rows; a GPU in 2 rows." in text
    assert "rows of different commits are mixed: c0ffee in 4 rows; beef-dirty in 2 rows." in text
    assert "2 rows are of code that no commit holds: beef-dirty" in text
    assert "hosts are mixed" not in text


def test_cost_adds_up_what_was_timed(tmp_path: Path) -> None:
    held = [
        {**cell, "duration_seconds": seconds} for cell, seconds in zip(cells(), (1, 2, 3, 600, 3000, 0), strict=True)
    ]
    held[5] |= {"duration_seconds": None}
    assert "vq a processor 6 5 3,606.0 3.00 1.002" in page_of(write(tmp_path / "store", held)).text


def test_filters_and_digest_are_reported(store: str) -> None:
    found = page_of(store, only={"dimension": "2"})
    assert "of which only those with dimension=2 are looked at" in found.text
    assert claims.digest(load_rows([store], {"dimension": "2"})) in found.text


def test_text_from_a_store_never_becomes_markup(tmp_path: Path) -> None:
    held = from_(cells(), run_host=HOSTILE, run_device=HOSTILE, run_commit=HOSTILE, run_versions=HOSTILE)
    held[0] |= {"status": "error", "error": HOSTILE}
    held[1] |= {"quantizer": HOSTILE}
    held[2] |= {"run_versions": json.dumps({HOSTILE: HOSTILE})}
    location = write(tmp_path / HOSTILE.replace("/", "\\"), held)
    Store(location).write_sweep(SWEEP + f"# {HOSTILE}\n{HOSTILE}: 1\n")
    found = page_of(location)
    assert found.count("script") == found.count("style") == 1
    assert found.count("img") == 0
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]
    assert found.text.count("alert(1)") > 8


def test_the_policy_allows_its_own_style_and_script_and_pictures_alone(page: Page) -> None:
    (policy,) = (m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    digest = r"'sha256-[A-Za-z0-9+/]{43}='"
    wanted = rf"default-src 'none'; img-src data:; style-src {digest}; script-src {digest}; "
    assert re.match(wanted, str(policy))
    assert not [tag for tag, attributes in page.elements if "style" in attributes]


def test_headings_go_down_one_level_at_a_time_and_ids_are_unique(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {href[1:] for attributes in page.all("a") if (href := str(attributes["href"])).startswith("#")}
    labels = {attributes["aria-labelledby"] for _, attributes in page.elements if "aria-labelledby" in attributes}
    assert links | labels <= set(ids)


def test_equal_stores_give_equal_bytes(store: str, content: bytes) -> None:
    assert report_of(store) == content


def test_a_store_that_lacks_cells_of_its_sweep_file_is_named_where_it_is_analysed(store: str, tmp_path: Path) -> None:
    said = analysis(store, "--out", tmp_path, items=undrawn(["figure3b"])).output
    assert f"{store} is incomplete. The store holds 6 cells. Its sweep file names 9 cells, of which 3 have no" in said


def test_a_complete_store_is_not_called_incomplete(tmp_path: Path) -> None:
    location = write(tmp_path / "store", cells())
    Store(location).write_sweep(SWEEP.partition("  more:")[0])
    said = analysis(location, "--out", tmp_path / "figures", items=undrawn(["figure3b"])).output
    assert "look in:" in said
    assert "incomplete" not in said
