from __future__ import annotations

import json
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import pytest
from click.testing import Result

from analysis.figures import ITEMS, generic
from tests.analysis.command_line import ALWAYS, analysis, undrawn
from tests.analysis.made_up import Row, row, rows, write

pytestmark = pytest.mark.long

SHARED: dict[str, Any] = {"codebook_size": [4, 16], "factors": [16, 64]}
FIGURES = (
    "figure3a",
    "figure3b",
    "figure4",
    "static_prior_appendix",
    "equal_bits",
    "rate_distortion",
    "code_use",
)
TABLES = ("static_prior_table", "static_prior_table_dimensions", "static_prior_cost")
DRAWN = ("figure3a", "figure4", *TABLES)
UNDRAWN = undrawn((*FIGURES, *TABLES), drawn=TABLES)
FEW = undrawn(("figure3a", "figure4", "static_prior_cost"))


def sweep() -> list[Row]:
    """All figures and tables of the static prior, small."""
    vq = rows(3, quantizer="vq", dimension=[4, 16], init_bound=[1.0, 10.0], **SHARED)
    dvq = rows(3, quantizer="dvq", dimension=[4, 16], slices=[2, 4], init_bound=1.0, **{**SHARED, "codebook_size": 4})
    kmeans = rows(3, quantizer="kmeans", dimension=[4, 16], **SHARED)
    return [*vq, *dvq, *kmeans]


def failed(cells: Sequence[Row], status: str, **values: Any) -> list[Row]:
    """The cells, of which those with these values failed."""
    outcome = {"test_mse": None, "data_variance": None, "loss_over_variance": None, "untrained_test_mse": None}
    return [
        {**cell, **outcome, "status": status} if all(cell.get(k) == v for k, v in values.items()) else cell
        for cell in cells
    ]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write(tmp_path_factory.mktemp("stores") / "full", sweep()))


@pytest.fixture(scope="module")
def written(store: Path) -> Path:
    """The items of `store`, beside it, of which two are drawn."""
    result = analysis(store, items=undrawn((*FIGURES, *TABLES), drawn=DRAWN))
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == f"look in:  {store / 'figures'}"
    return store / "figures"


@pytest.fixture(scope="module")
def holed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A store with failed cells, all of whose items were made, and what was said of it."""
    cells = failed(sweep(), "out_of_memory", quantizer="vq", dimension=16, codebook_size=16, init_bound=10.0)
    cells = failed(cells, "diverged", quantizer="vq", dimension=4, codebook_size=4, init_bound=1.0, seed=2)
    store = write(tmp_path_factory.mktemp("stores") / "holed", cells)
    return Path(store), analysis(store, "--allow-missing", dpi=30)


def test_every_figure_is_drawn_beside_its_store(holed: tuple[Path, Result]) -> None:
    store, result = holed
    assert result.exit_code == 0, result.output
    figures = {f"{name}.{suffix}" for name in FIGURES for suffix in ("svg", "png", "csv", "json")}
    tables = {f"{name}.{suffix}" for name in TABLES for suffix in ("csv", "md", "tex", "json")}
    figures |= {
        f"static_prior-{end}.{suffix}" for end in ("over-axes", "rate") for suffix in ("svg", "png", "csv", "json")
    }
    tables |= {
        f"static_prior-{end}.{suffix}" for end in ("ranking", "versus") for suffix in ("csv", "md", "tex", "json")
    }
    points = {"static_prior-points.csv", "static_prior-points.json"}
    assert set(files(store / "figures")) == figures | tables | points | ALWAYS
    assert result.output.splitlines()[-1] == f"look in:  {store / 'figures'}"


def test_figures_fit_the_text_of_a_page(written: Path, holed: tuple[Path, Result]) -> None:
    for folder, names, dpi in ((written, DRAWN[:2], 300), (holed[0] / "figures", FIGURES, 30)):
        for name in names:
            width, height = struct.unpack(">II", (folder / f"{name}.png").read_bytes()[16:24])
            assert width == 7 * dpi
            assert height < 9 * dpi


def test_the_sidecar_says_what_was_drawn(store: Path, written: Path) -> None:
    sidecar = json.loads((written / "figure3a.json").read_text())
    assert sidecar["stores"] == [str(store)]
    assert sidecar["run_commits"] == ["c0ffee"]
    assert sidecar["common"].startswith("factors=64")
    assert sidecar["n"]["vq dimension=16 codebook_size=4 init_bound=10"] == 3
    assert set(sidecar["n"].values()) == {3}
    assert len(sidecar["n"]) == 8 + 4
    assert sidecar["holes"] == []
    assert "n = 3 Monte-Carlo repetitions" in sidecar["caption"]
    assert "F = 64 factors" in sidecar["caption"]


def test_settings_of_the_users_matplotlib_change_nothing(
    store: Path, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(mpl.rcParams, "lines.linewidth", 9.0)
    monkeypatch.setitem(mpl.rcParams, "font.family", ["serif"])
    analysis(store, "--out", tmp_path, items={"figure3a": ITEMS["figure3a"]})
    names = files(tmp_path).keys() - ALWAYS
    assert len(names) == 4
    assert {name: files(tmp_path)[name] for name in names} == {name: files(written)[name] for name in names}


def test_a_number_that_is_drawn_changes_the_digest(written: Path, tmp_path: Path) -> None:
    cells = [{**c, "test_mse": c["test_mse"] + 1e-9} if c["quantizer"] == "dvq" else c for c in sweep()]
    analysis(write(tmp_path / "store", cells), "--out", tmp_path / "out", items=FEW)

    def digest(folder: Path, name: str) -> str:
        return str(json.loads((folder / f"{name}.json").read_text())["rows_sha256"])

    assert digest(tmp_path / "out", "figure4") != digest(written, "figure4")
    assert digest(tmp_path / "out", "figure3a") == digest(written, "figure3a")


def test_named_items_are_made_as_among_all_others_and_no_others_are(store: Path, written: Path, tmp_path: Path) -> None:
    result = analysis(store, "--out", tmp_path, "--item", "static_prior_table", "--item", "claims")
    assert result.exit_code == 0, result.output
    made = files(tmp_path)
    assert {name.partition(".")[0] for name in made} == {"static_prior_table", "claims"}
    assert made == {name: files(written)[name] for name in made}
    assert "report" not in result.output


def test_figures_can_be_had_without_claims_and_claims_without_figures(store: Path, tmp_path: Path) -> None:
    for name in ("static_prior_table", "claims"):
        assert analysis(store, "--out", tmp_path / name, "--item", name).exit_code == 0
        assert {path.stem for path in (tmp_path / name).iterdir()} == {name}


def test_a_named_item_that_the_store_has_nothing_of_is_a_failure(store: Path, tmp_path: Path) -> None:
    result = analysis(store, "--out", tmp_path / "out", "--item", "figure6")
    assert result.exit_code == 1
    assert result.output == "not in this store: figure6\n"
    assert not (tmp_path / "out").exists()


def test_a_report_that_lacks_what_was_made_since_is_said_to_be_old(store: Path, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("of yesterday")
    result = analysis(store, "--out", tmp_path, "--item", "claims")
    assert f"not made again; {tmp_path / 'report.html'} is of an earlier run" in result.output
    assert (tmp_path / "report.html").read_text() == "of yesterday"


def test_what_writes_nothing_takes_no_item_to_write(store: Path) -> None:
    result = analysis(store, "--needs", "figure4", "--item", "figure4")
    assert result.exit_code == 2
    assert "--needs writes nothing; leave --item away" in result.output


def test_an_item_with_failed_cells_is_refused_and_the_others_are_drawn(tmp_path: Path) -> None:
    bad = {"quantizer": "dvq", "dimension": 16, "slices": 4, "factors": 64}
    cells = failed(sweep(), "diverged", **bad, seed=1)
    result = analysis(write(tmp_path / "store", cells), items={**UNDRAWN, "figure3a": ITEMS["figure3a"]})
    assert result.exit_code == 1
    lines = result.output.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("figure4"))
    assert "refused: 1 of 60 cells are missing or failed" in lines[at]
    assert lines[at + 1].strip() == "dvq dimension=16 factors=64 slices=4: seed 1 failed (diverged)"
    assert {name.partition(".")[0] for name in files(tmp_path / "store" / "figures")} == {
        "figure3a",
        "figure3b",
        "static_prior_appendix",
        "code_use",
        "static_prior_table_dimensions",
        "claims",
        "report",
    }
    report = (tmp_path / "store" / "figures" / "report.html").read_text()
    assert {*re.findall(r'<h4 id="item-(\w+)"', report)} == {
        "figure3a",
        "figure3b",
        "static_prior_appendix",
        "code_use",
        "static_prior_table_dimensions",
    }
    assert report.count("<img") == 2, "of the one that is drawn, for wide screens and for narrow ones"
    assert "1 of 60 cells are missing or failed" in report


def test_files_of_an_earlier_run_are_pointed_out_when_their_item_is_refused(tmp_path: Path) -> None:
    (tmp_path / "figure4.json").write_text("{}")
    holed = write(tmp_path / "holed", failed(sweep(), "error", seed=0))
    output = analysis(holed, "--out", tmp_path, items=UNDRAWN).output
    assert f"figure4 refused ({tmp_path}/figure4.* are of an earlier run)" in " ".join(output.split())
    assert output.count("of an earlier run") == 1


def test_allow_missing_draws_holes_marks_them_and_says_so(holed: tuple[Path, Result]) -> None:
    store, result = holed
    assert result.exit_code == 0, result.output
    assert "INCOMPLETE: 4 cells are missing or failed" in result.output
    sidecar = json.loads((store / "figures" / "figure3a.json").read_text())
    holes = [
        "vq dimension=4 codebook_size=4 init_bound=1: seed 2 failed (diverged)",
        "vq dimension=16 codebook_size=16 init_bound=10: seeds 0-2 failed (out_of_memory)",
    ]
    assert sidecar["holes"] == holes
    assert sidecar["n"]["vq dimension=4 codebook_size=4 init_bound=1"] == 2
    assert sidecar["n"]["vq dimension=16 codebook_size=16 init_bound=10"] == 0
    assert "INCOMPLETE, 4 of 36 cells are missing or failed" in sidecar["caption"]
    for hole in holes:
        assert hole in sidecar["caption"]


def test_unequal_trainings_are_refused_until_one_is_kept(tmp_path: Path) -> None:
    more = rows(3, quantizer="vq", dimension=[4, 16], init_bound=[1.0, 10.0], learning_rate=0.02, **SHARED)
    store = write(tmp_path / "store", [*sweep(), *more])
    refused = analysis(store, "--allow-missing", items=FEW)
    assert refused.exit_code == 1
    assert "unequal learning_rate: 0.02 (vq every dimension" in refused.output
    kept = analysis(store, "--only", "learning_rate=0.3", items=FEW)
    assert kept.exit_code == 0, kept.output
    sidecar = json.loads((tmp_path / "store" / "figures" / "figure4.json").read_text())
    assert sidecar["only"] == {"learning_rate": "0.3"}


def test_what_a_store_has_nothing_for_is_a_line_and_no_failure(tmp_path: Path) -> None:
    store = write(tmp_path / "store", rows(3, quantizer="vq", dimension=[2, 4], init_bound=1.0, **SHARED))
    result = analysis(store, items=FEW)
    assert result.exit_code == 0, result.output
    absent = [line for line in result.output.splitlines() if "not in this store" in line]
    assert len(absent) == 1
    assert "figure4" in absent[0].removeprefix("not in this store: ").split(", ")


def test_a_folder_that_cannot_be_written_to_exits_with_2(store: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = analysis(store, "--out", tmp_path / "file" / "out", items=FEW)
    assert result.exit_code == 2
    assert f"{tmp_path / 'file' / 'out'} cannot be written: Not a directory" in result.output


def test_a_single_value_on_every_axis_can_be_drawn(tmp_path: Path) -> None:
    one = {"dimension": 4, "codebook_size": 4, "factors": 16, "init_bound": 1.0}
    cells = [*rows(2, quantizer="vq", **one), *rows(2, quantizer="dvq", slices=2, **one)]
    result = analysis(write(tmp_path / "store", cells), dpi=30)
    assert result.exit_code == 0, result.output
    assert len(files(tmp_path / "store" / "figures").keys() - ALWAYS) == 4 * (5 + 3 + 2) + 2


def test_a_store_that_is_not_there_exits_with_2(tmp_path: Path) -> None:
    result = analysis(tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "nowhere is not a store" in result.output


def test_several_stores_need_a_folder_to_write_to(store: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", [row(seed=9, quantizer="vq", dimension=4, codebook_size=4, factors=16)])
    result = analysis(store, other)
    assert result.exit_code == 2
    assert "--out is needed" in result.output


def test_two_halves_of_a_sweep_are_as_good_as_the_whole(written: Path, tmp_path: Path) -> None:
    cells = sweep()
    halves = [write(tmp_path / str(i), cells[i::2]) for i in range(2)]
    assert analysis(*halves, "--out", tmp_path / "halves", items=undrawn(FIGURES, drawn=("figure4",))).exit_code == 0
    compared = [f"{name}.{suffix}" for name in FIGURES for suffix in ("csv", "svg") if name != "figure3a"]
    for file in (*compared, "figure3a.csv", "figure4.png"):
        assert (tmp_path / "halves" / file).read_bytes() == (written / file).read_bytes()


def test_list_needs_no_store() -> None:
    result = analysis("--list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()] == [*ITEMS, "claims", *generic.NAMES]


def test_needs_lists_what_is_missing_and_writes_nothing(tmp_path: Path) -> None:
    store = write(
        tmp_path / "store", failed(sweep(), "error", quantizer="kmeans", dimension=4, codebook_size=4, seed=0)
    )
    result = analysis(store, "--needs", "figure3a")
    assert result.exit_code == 1
    assert "kmeans dimension=4 codebook_size=4: seed 0 failed (error)" in result.output
    assert analysis(store, "--needs", "figure3b").exit_code == 0
    assert not (tmp_path / "store" / "figures").exists()


def test_needs_of_the_claims_names_their_sweeps_and_what_a_store_lacks(store: Path) -> None:
    assert "sweeps/cifar10.yaml" in analysis("--needs", "claims").output
    result = analysis(store, "--needs", "claims")
    assert result.exit_code == 1
    assert "11: not run." in result.output


def test_no_store_at_all_is_a_usage_error() -> None:
    assert analysis().exit_code == 2
    assert analysis("--needs", "figure9").exit_code == 2


def test_pandas_reads_what_the_analysis_reads(store: Path) -> None:
    assert len(pd.read_parquet(store / "cells")) == len(sweep())
