"""What the items of the learned prior choose, refuse and show."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

from analysis.data.declared import settings_of
from analysis.data.rows import load_rows
from analysis.data.selection import Selection, select
from analysis.draw import style
from analysis.draw.looks import known_look
from analysis.draw.style import readable
from analysis.figures import ITEMS
from analysis.figures.learned_prior import _published as published
from analysis.figures.learned_prior._models import DataSet, model_of, models_in, varying_in
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.store import Store
from tests.analysis import command_line
from tests.analysis.command_line import undrawn
from tests.analysis.looking import (
    assert_no_text_overlaps_or_leaves_the_page,
    assert_text_is_readable_in_print,
    bands_of,
    draw,
    legends,
    names_at_ends,
)
from tests.analysis.made_up import Row
from tests.analysis.made_up_images import PAPER, PICTURE, SMALL, curve, picture, png, row, sweep, write
from tests.analysis.summary_of import summary_of

NAMES = ("figure6", "table1", "reconstructions")
ALWAYS = ("claims", "report")
"""Written whatever a store holds."""
DRAWN = ("figure6", "reconstructions")
LABELS = (
    "VQ, D = 16",
    "VQ, D = 64",
    "VQ, D = 16, J = 4",
    "DVQ, D = 64, L = 4",
    "SVQ, D = 16, L = 8",
    "SVQ, D = 16, L = 8, P = 8",
)


def analysis(*arguments: str | Path, drawing: Collection[str] = NAMES) -> Result:
    """The command line, with these items alone: the others have tests of their own."""
    return command_line.analysis(*arguments, items=undrawn(NAMES, drawn=drawing), dpi=30)


def selected(name: str, *stores: str | Path) -> Selection:
    selection = select(load_rows([str(store) for store in stores]), ITEMS[name].needs)
    assert selection is not None
    return selection


@cache
def drawn(name: str, *stores: str | Path) -> Figure:
    return draw(name, selected(name, *stores))[0]


def failing(cells: Sequence[Row], status: str, **values: Any) -> list[Row]:
    """The cells, of which those with these values failed: their metrics are gone."""
    kept = settings_of("learned_prior")
    identity = {"cell_id", "point_id", "sweep", "trainable", "seed", "run_id", "run_commit", "run_started_at"}
    return [
        {**{k: cell[k] for k in {*kept, *identity} & cell.keys()}, "status": status, "error": "made up"}
        if all(cell[k] == v for k, v in values.items())
        else cell
        for cell in cells
    ]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write(tmp_path_factory.mktemp("stores") / "photos", sweep()))


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Stores of the three data sets of Table 1; as there, SVQ was not run on all of them."""
    folder, sizes = tmp_path_factory.mktemp("paper"), {"codebook_size": 512, "steps": 100_000}
    return (
        Path(write(folder / "cifar10", sweep(PAPER, 3, dataset="cifar10", **sizes))),
        Path(write(folder / "imagenet32", sweep(PAPER[:5], 2, dataset="imagenet32", **sizes))),
        Path(write(folder / "imagenet64", sweep(PAPER[:4], 2, dataset="imagenet64", image_size=64, **sizes))),
    )


@pytest.fixture(scope="module")
def out(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is made of `photos`; the pictures are numbers alone."""
    folder = tmp_path_factory.mktemp("out")
    result = analysis(photos, "--out", folder, drawing=("figure6", "table1"))
    assert result.exit_code == 0, result.output
    return folder


@pytest.mark.long
def test_equal_stores_give_equal_bytes_whatever_the_order_of_their_cells(out: Path, tmp_path: Path) -> None:
    (store,) = json.loads((out / "table1.json").read_text())["stores"]
    again = write(tmp_path / "again" / Path(store).name, sweep()[::-1])
    assert analysis(again, "--out", tmp_path / "out", drawing=("figure6", "table1")).exit_code == 0
    for path in out.iterdir():
        content = (tmp_path / "out" / path.name).read_bytes().replace(again.encode(), b"STORE")
        assert content == path.read_bytes().replace(store.encode(), b"STORE"), path.name


@pytest.mark.parametrize("name", ["static_prior", "factorial_prior", "learned_prior"])
def test_columns_that_tell_points_apart_are_all_declared_fields_and_the_revision(name: str) -> None:
    fields = {field for variant in find_experiment(name).variants.values() for field in variant.model_fields}
    assert {*settings_of(name)} == {*fields, "revision"}


def test_models_are_listed_and_labelled_by_what_tells_them_apart(photos: Path) -> None:
    grids = selected("figure6", photos).grids
    models = [model_of(grid) for grid in grids]
    assert tuple(model.label(varying_in(models)) for model in models) == LABELS
    assert [grid.name for grid in grids] == [
        "vq dimension=16",
        "vq dimension=64",
        "vq dimension=16 joint_codebooks=4",
        "dvq dimension=64 slices=4",
        "svq dimension=16 slices=8",
        "svq dimension=16 slices=8 joint_positions=8",
    ]
    alone = models_in(pd.DataFrame(sweep([{"quantizer": "dvq", "dimension": 64, "slices": s} for s in (1, 2)])))
    assert [model.label(varying_in(alone)) for model in alone] == ["DVQ, L = 1", "DVQ, L = 2"]


def test_the_author_and_the_matched_baseline_are_models_of_their_own() -> None:
    sizes = [{**SMALL[0], "codebook_size": 32}, SMALL[0], {**SMALL[0], "joint_codebooks": 2}]
    models = models_in(pd.DataFrame(sweep(sizes)))
    assert len(models) == 3
    assert [model.label(varying_in(models)) for model in models] == ["VQ, K = 32", "VQ, K = 64", "VQ, K = 64, J = 2"]


@pytest.mark.long
@pytest.mark.parametrize("name", DRAWN)
def test_text_is_readable_and_in_nobodys_way(name: str, photos: Path, paper: tuple[Path, ...]) -> None:
    for stores in ((photos,), paper):
        figure = drawn(name, *stores)
        assert_no_text_overlaps_or_leaves_the_page(figure, least=7)
        assert_text_is_readable_in_print(figure, least=7)
        width, height = figure.get_size_inches()
        assert (width, height < 9) == (7, True)


def test_figure6_draws_means_and_intervals_of_the_curves(photos: Path) -> None:
    figure = drawn("figure6", photos)
    cells = [cell for cell in sweep() if cell["quantizer"] == "dvq"]
    for axes, column in zip(
        figure.axes, ("train_reconstruction_bits_per_dim", "reconstruction_bits_per_dim"), strict=True
    ):
        (line,) = [line for line in axes.get_lines() if line.get_color() == known_look("dvq", 4).colour]
        (corners,) = [corners for corners, colour in bands_of(axes) if colour == line.get_color()]
        curves = [curve(cell) for cell in cells]
        logged = [points for points in zip(*curves, strict=True) if points[0][column] is not None]
        np.testing.assert_array_equal(np.asarray(line.get_xdata()), [points[0]["step"] for points in logged])
        summaries = [summary_of(point[column] for point in points) for points in logged]
        np.testing.assert_allclose(np.asarray(line.get_ydata(), float), [summary.mean for summary in summaries])
        for points, summary in zip(logged, summaries, strict=True):
            here = corners[corners[:, 0] == points[0]["step"], 1]
            np.testing.assert_allclose([here.min(), here.max()], [summary.low, summary.high])


def test_figure6_scales_to_what_comes_after_the_first_steps(photos: Path) -> None:
    train, test = drawn("figure6", photos).axes
    assert train.get_ylim() == test.get_ylim()
    low, high = test.get_ylim()
    ends = [float(np.asarray(line.get_ydata(), float)[-1]) for line in test.get_lines()]
    assert low < min(ends)
    assert max(ends) < high < 7


def test_names_or_the_legend_explain_every_line_and_say_what_the_codes_cost(photos: Path) -> None:
    figure = drawn("figure6", photos)
    named = names_at_ends(figure)
    costs = ("0.12", "0.12", "0.50", "0.50", "0.12", "0.02")
    assert sorted(named) == sorted(f"{label} ({cost})" for label, cost in zip(LABELS, costs, strict=True))
    assert {*named.values()} == {readable(to_hex(line.get_color()), 4.5) for line in figure.axes[0].get_lines()}
    assert legends(figure) == []
    with style.drawn_for(style.COLUMN):
        narrow, _ = draw("figure6", selected("figure6", photos))
    assert names_at_ends(narrow) == {}
    explained = {to_hex(line.get_color()) for legend in legends(narrow) for line in legend.get_lines()}
    assert explained == {to_hex(line.get_color()) for line in figure.axes[0].get_lines()}
    assert len(explained) == 6


def test_table1_keeps_reconstruction_and_bounds_in_columns_of_their_own(out: Path) -> None:
    table = pd.read_csv(out / "table1.csv")
    assert tuple(table["model"]) == LABELS
    cells = pd.DataFrame(sweep())
    for column in ("reconstruction_bits_per_dim", "total_bits_per_dim_uniform", "total_bits_per_dim_unigram"):
        summary = summary_of(cells.loc[cells["quantizer"] == "dvq", column])
        line = table[table["quantizer"] == "dvq"].iloc[0]
        found = [line[column], line[f"{column}_low"], line[f"{column}_high"], line["n"]]
        assert found == pytest.approx([summary.mean, summary.low, summary.high, 3])
    assert (table["total_bits_per_dim_uniform"] > table["reconstruction_bits_per_dim"]).all()
    text = (out / "table1.md").read_text()
    assert (
        "| model | parameters | n | Photographs 32×32: reconstruction | Photographs 32×32: + codes, uniform prior | "
        "Photographs 32×32: + codes, unigram prior |"
    ) in text
    assert "is no bound on the likelihood" in text
    assert "PixelCNN" not in text  # nothing was published of these images


@pytest.mark.long
def test_table1_has_a_column_group_for_each_data_set_and_published_numbers_where_they_belong(
    paper: tuple[Path, ...], tmp_path: Path
) -> None:
    assert analysis(*paper, "--out", tmp_path, drawing=("table1",)).exit_code == 0
    lines = (tmp_path / "table1.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("|")]
    heading, by_name = rows[0], {cells[0]: cells for cells in rows[2:]}
    assert [text.partition(":")[0] for text in heading[3:-1:4]] == [
        "CIFAR-10 32×32",
        "ImageNet 32×32",
        "ImageNet 64×64",
    ]

    def filled(name: str) -> dict[str, str]:
        cells = zip(heading[3:-1], by_name[name][3:-1], strict=True)
        return {column.replace("32×32", "32").replace("64×64", "64"): cell for column, cell in cells if cell != "–"}

    assert filled("DVQ, the paper") == {
        "CIFAR-10 32: reconstruction": "3.15",
        "ImageNet 32: reconstruction": "3.76",
        "ImageNet 64: reconstruction": "3.50",
    }
    assert filled("Gated PixelCNN") == {
        "CIFAR-10 32: likelihood, own prior": "3.03",
        "ImageNet 32: likelihood, own prior": "3.83",
        "ImageNet 64: likelihood, own prior": "3.57",
    }
    assert filled("VQ-VAE, run anew by others") == {"CIFAR-10 32: + codes, unigram prior": "5.00"}
    assert len(filled("DVQ, D = 2550, L = 10")) == 9
    assert len(filled("SVQ, D = 255, L = 8, P = 8")) == 3  # a dash, and no hole, where it was never run
    assert by_name["VQ, D = 255"][2] == "3 / 2 / 2"
    assert by_name["SVQ, D = 255, L = 8, P = 8"][2] == "3"
    csv = pd.read_csv(tmp_path / "table1.csv")
    assert csv[csv["likelihood_bits_per_dim"].notna()]["reconstruction_bits_per_dim"].isna().all()


def test_every_published_number_names_its_source_and_no_column_mixes_measures() -> None:
    for work in published.works():
        assert "arXiv" in work.source or "github.com" in work.source
        assert work.note.endswith(".")
        assert all(1 < bits < 8 for bits in work.bits_per_dim.values())
    by_measure: dict[str, set[str]] = {}
    for work in published.works():
        by_measure.setdefault(work.measures, set()).add(work.name)
    assert sum(map(len, by_measure.values())) == len({work.name for work in published.works()})
    assert published.caveats(["cifar10", "photos"]) == []
    assert len(published.caveats(["imagenet32", "imagenet64"])) == 1


def test_reconstructions_are_those_of_the_lowest_seed_beside_the_originals(photos: Path) -> None:
    figure = drawn("reconstructions", photos)
    shown = [np.asarray(image.get_array()) for image in figure.findobj(AxesImage) if isinstance(image, AxesImage)]
    assert len(shown) == 7 * 8
    lowest = next(cell for cell in sweep() if cell["quantizer"] == "dvq" and cell["seed"] == 0)
    pixels = np.asarray(Image.open(io.BytesIO(picture(lowest))), dtype=np.float64) / 255
    np.testing.assert_allclose(shown[0], pixels[:32, :32], atol=1e-6)
    np.testing.assert_allclose(shown[4 * 8 + 2], pixels[32:, 64:96], atol=1e-6)
    dvq = f"{lowest['reconstruction_bits_per_dim']:.2f} + {lowest['code_bits_per_dim_unigram']:.2f}"
    assert f"DVQ, D = 64, L = 4\n{dvq}" in [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_one_seed_gives_reconstructions_and_no_intervals(tmp_path: Path) -> None:
    result = analysis(write(tmp_path, sweep(SMALL[:2], seeds=1)), drawing=("reconstructions",))
    assert result.exit_code == 1
    assert result.output.count("have only 1 of the 2 repetitions") == 2
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"reconstructions", *ALWAYS}


def test_originals_that_differ_are_not_drawn_as_one_row(tmp_path: Path) -> None:
    cells = sweep(SMALL[:2], 2)
    store = write(tmp_path, cells)
    other = np.asarray(Image.open(io.BytesIO(picture(cells[0])))).copy()
    other[0, 0] ^= 1
    Store(store).write_artifact(cells[0]["cell_id"], PICTURE, png(other))
    output = analysis(store, drawing=("reconstructions",)).output
    assert "refused: Photographs 32×32: reconstructions.png of cells" in output
    assert "show different originals" in output


@pytest.mark.long
@pytest.mark.parametrize("content", [b"no picture", png(np.zeros((63, 256, 3), np.uint8))])
def test_a_broken_picture_is_named(content: bytes, tmp_path: Path) -> None:
    cells = sweep(SMALL[:2], 2)
    store = write(tmp_path, cells)
    Store(store).write_artifact(cells[0]["cell_id"], PICTURE, content)
    result = analysis(store, drawing=("reconstructions",))
    assert result.exit_code == 1
    assert f"reconstructions.png of cell {cells[0]['cell_id']}" in result.output
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"figure6", "table1", *ALWAYS}


def test_failed_cells_are_named_and_only_the_items_that_need_them_refused(tmp_path: Path) -> None:
    result = analysis(write(tmp_path, failing(sweep(), "diverged", quantizer="dvq", seed=1)), drawing=())
    assert result.exit_code == 1
    assert result.output.count("refused: 1 of 18 cells are missing or failed") == 2
    assert result.output.count("dvq dimension=64 slices=4: seed 1 failed (diverged)") == 2
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"reconstructions", *ALWAYS}


@pytest.mark.long
def test_allow_missing_makes_everything_with_holes_and_says_so(tmp_path: Path) -> None:
    cells = failing(sweep(), "diverged", quantizer="dvq", seed=1)
    store = write(tmp_path, failing(cells, "out_of_memory", joint_codebooks=4))
    result = analysis(store, "--allow-missing")
    assert result.exit_code == 0, result.output
    figures = tmp_path / "figures"
    suffixes = ("svg", "png", "csv", "json")
    expected = {f"{name}.{suffix}" for name in ("figure6", "reconstructions") for suffix in suffixes}
    expected |= {f"table1.{suffix}" for suffix in ("csv", "md", "tex", "json")}
    expected |= {f"claims.{suffix}" for suffix in ("csv", "md", "json")} | {"report.html"}
    assert {path.name for path in figures.iterdir()} == expected
    lines = (figures / "table1.md").read_text().splitlines()
    assert any(line.startswith("| VQ, D = 16, J = 4 | – | 0 of 3 | missing | missing | missing |") for line in lines)
    assert any(line.startswith("| DVQ, D = 64, L = 4 |") and "| 2 of 3 |" in line for line in lines)
    for name in NAMES:
        sidecar = json.loads((figures / f"{name}.json").read_text())
        assert "vq dimension=16 joint_codebooks=4: " in sidecar["caption"]
        assert "INCOMPLETE" in sidecar["caption"]
    figure = drawn("figure6", store)
    assert "VQ, D = 16, J = 4, n = 0 of 3" in [text.get_text() for text in legends(figure)[0].get_texts()]
    assert "DVQ, D = 64, L = 4 (0.50), n = 2 of 3" in names_at_ends(figure)
    hatched = [patch for axes in drawn("reconstructions", store).axes for patch in axes.patches if patch.get_hatch()]
    assert len(hatched) == 8


@pytest.mark.long
def test_a_data_set_of_which_nothing_is_left_is_drawn_empty(tmp_path: Path) -> None:
    cells = [*sweep(SMALL[:2]), *failing(sweep(SMALL[:2], dataset="cifar10"), "error", dataset="cifar10")]
    result = analysis(write(tmp_path, cells), "--allow-missing")
    assert result.exit_code == 0, result.output


def test_cells_without_a_curve_or_a_picture_are_holes_of_the_items_that_draw_them(tmp_path: Path) -> None:
    bare = write(tmp_path / "bare", sweep(SMALL[:2], 2), curves=False, pictures=False)
    assert selected("figure6", bare).holes() == [
        "vq: seeds 0, 1 without a curve",
        "vq joint_codebooks=4: seeds 0, 1 without a curve",
    ]
    assert selected("reconstructions", bare).holes()[0].endswith("seed 0 without reconstructions.png")
    assert selected("table1", bare).holes() == []


def test_a_curve_that_ends_early_is_a_hole(tmp_path: Path) -> None:
    cells = sweep(SMALL[:1], 3)
    store = Store(tmp_path)
    for cell in cells:
        points = curve(cell)
        store.write_cell(find_experiment("learned_prior"), cell, points[:-2] if cell["seed"] == 2 else points)
    whole = 2 * len(curve(cells[0])) - 1
    assert selected("figure6", tmp_path).holes() == [f"vq: seed 2 with {whole - 4} of {whole} values of its curve"]


@pytest.mark.long
def test_models_that_were_trained_unalike_are_refused_until_one_training_is_kept(tmp_path: Path) -> None:
    cells = [*sweep(SMALL[:3], 2), *sweep(SMALL[3:4], 2, steps=800)]
    store = write(tmp_path, cells)
    result = analysis(store, "--allow-missing", drawing=())
    assert result.exit_code == 1
    fault = (
        "unequal steps: 400 (vq dimension=16, vq dimension=64, "
        "vq dimension=16 joint_codebooks=4); 800 (dvq dimension=64 slices=4); keep one with --only steps=400"
    )
    assert result.output.count(fault) == 3
    assert analysis(store, "--only", "steps=400", drawing=()).exit_code == 0


def test_equal_names_of_unequal_images_are_refused(tmp_path: Path) -> None:
    cells = [{**cell, "data_sha256": "f" * 64} if cell["quantizer"] == "dvq" else cell for cell in sweep(SMALL[2:4])]
    store = write(tmp_path, cells, curves=False, pictures=False)
    assert analysis(store, drawing=()).output.count("unequal data_sha256") == 3


def test_the_advice_keeps_the_training_that_most_cells_have(tmp_path: Path) -> None:
    odd = sweep(SMALL[3:4], ema_decay=0.99, codebook_start="k-means")
    output = analysis(write(tmp_path, [*sweep(SMALL[1:4]), *odd], curves=False, pictures=False), drawing=()).output
    assert "unequal codebook_start: k-means (dvq dimension=64 slices=4); normal (vq " in output
    assert "keep one with --only codebook_start=normal" in output
    assert "keep one with --only ema_decay=0\n" in output


@pytest.mark.long
def test_the_digest_is_of_the_curves_and_pictures_too(out: Path, tmp_path: Path) -> None:
    cells = sweep()
    store = Store(tmp_path / "store")
    for cell in cells:
        points = [{**point, "reconstruction_bits_per_dim": point["reconstruction_bits_per_dim"] + 1e-9 * (
            cell["quantizer"] == "dvq")} for point in curve(cell)]  # fmt: skip
        store.write_cell(find_experiment("learned_prior"), cell, points)
        store.write_artifact(cell["cell_id"], PICTURE, picture(cell))
    assert analysis(tmp_path / "store", "--out", tmp_path / "out", drawing=()).exit_code == 0

    def sidecar(folder: Path, name: str) -> dict[str, Any]:
        return dict(json.loads((folder / f"{name}.json").read_text()))

    changed = [
        name for name in NAMES if sidecar(out, name)["rows_sha256"] != sidecar(tmp_path / "out", name)["rows_sha256"]
    ]
    assert changed == ["figure6"]
    pictures = sidecar(out, "reconstructions")["artifacts_sha256"]
    assert len(pictures) == 6
    assert all(name.endswith(f"/{PICTURE}") for name in pictures)
    grids = sidecar(out, "figure6")["grids"]
    assert grids[2]["label"] == "vq dimension=16 joint_codebooks=4"


def test_unknown_data_sets_are_called_what_the_sweep_calls_them() -> None:
    assert DataSet(dataset="my_photos", image_size=48).title == "my_photos 48×48"
    assert DataSet(dataset="imagenet64", image_size=64).title == "ImageNet 64×64"


def test_a_store_of_the_static_prior_has_nothing_for_these_items(photos: Path) -> None:
    frame = load_rows([str(photos)]).frame.assign(trainable="static_prior")
    rows = load_rows([str(photos)])
    assert all(select(type(rows)(frame=frame, stores=rows.stores), ITEMS[name].needs) is None for name in NAMES)


def test_made_up_rows_have_every_column_of_the_store() -> None:
    metrics = find_experiment("learned_prior").metrics.__dataclass_fields__  # type: ignore[attr-defined]
    dependence = {name for name in metrics if name.startswith("slice_dependence")}
    of_slices = dependence - {"slice_dependence_bits"}
    cells = {name: row(seed=0, **SMALL[i]) for i, name in enumerate(("vq", "joint vq", "wide vq", "dvq", "svq"))}
    assert set(metrics) - set(cells["vq"]) == dependence
    assert set(metrics) - set(cells["joint vq"]) == of_slices
    assert set(metrics) <= set(cells["dvq"])
    of_positions = {"joint_code_entropy_bits", "code_cross_entropy_bits"}
    assert set(metrics) - set(cells["svq"]) == {*dependence, *of_positions}
    logged = find_experiment("learned_prior").curve.__dataclass_fields__  # type: ignore[attr-defined]
    assert set(curve(cells["vq"])[0]) == set(logged)
