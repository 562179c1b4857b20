"""Only what is comparable is compared: whatever else differs between points is drawn, captioned or rejected."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from analysis.build import problems
from analysis.data.declared import declared
from analysis.data.rows import Rows, load_rows
from analysis.data.selection import Selection
from analysis.draw import style
from analysis.draw.sheet import Drawn, Sheet
from analysis.figures import ITEMS, generic, items
from analysis.figures.generic.over_axes import Cuts
from analysis.figures.generic.ranking import ranks
from analysis.figures.generic.versus import comparisons
from analysis.items import Item
from tests.analysis import made_up_images
from tests.analysis.made_up import made_up_rows

pytestmark = pytest.mark.usefixtures("unrendered", "not_laid_out")

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
SEARCH = "search_static_slices"
Mask = npt.NDArray[np.bool_]


@pytest.fixture
def not_laid_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are drawn, and their captions and numbers made; nothing is placed."""

    def finish(sheet: Sheet, *, message: str, caption: str, **layout: Any) -> Drawn:
        return Drawn(figure=sheet.figure, message=message, caption=caption)

    monkeypatch.setattr(Sheet, "finish", finish)


@cache
def base(store: str) -> Rows:
    """A few seeds of a reference store."""
    if store == "slices":
        cells = [{"quantizer": "dvq", "dimension": 64, "slices": slices} for slices in (1, 2, 4)]
        return made_up_rows(made_up_images.sweep(tuple(cells), 2))
    rows = load_rows([str(REFERENCE / store)])
    frame = rows.frame[rows.frame["seed"] < 2] if store != SEARCH else rows.frame
    if store == "static_prior":
        frame = frame[frame["factors"].isin([64, 4096]) & frame["dimension"].isin([2, 16, 64])]
    texts = frame.select_dtypes("category").columns
    return replace(rows, frame=frame.astype(dict.fromkeys(texts, object)).reset_index(drop=True))


STORES = {
    "static_prior": "static_prior", "factorial": "factorial_prior", "cifar10_lossless": "learned_prior",
    "slices": "learned_prior", SEARCH: "static_prior",
}  # fmt: skip


def between_quantizers(frame: pd.DataFrame, has: Mask) -> Mask:
    """All points of one of the quantizers that have the column."""
    return np.asarray(has & (frame["quantizer"] == frame.loc[has, "quantizer"].max()), bool)


def along_an_axis(frame: pd.DataFrame, has: Mask) -> Mask:
    """All points of the largest dimension."""
    return np.asarray(has & (frame["dimension"] == frame.loc[has, "dimension"].max()), bool)


def between_seeds(frame: pd.DataFrame, has: Mask) -> Mask:
    return np.asarray(has & (frame["seed"] == 0), bool)


def at_one_point(frame: pd.DataFrame, has: Mask) -> Mask:
    return np.asarray(has & (frame["point_id"] == frame.loc[has, "point_id"].iloc[0]), bool)


def other(value: Any) -> Any:
    return f"other {value}" if isinstance(value, str) else 2 * value + 1


def changed(rows: Rows, trainable: str, column: str, which: Callable[[pd.DataFrame, Mask], Mask]) -> Rows | None:
    """The rows, of which some have another value in the column; None where all that have it would."""
    frame = rows.frame
    known = declared(trainable, [str(name) for name in frame["quantizer"].unique()])
    has = np.array([known.has(str(name), column) for name in frame["quantizer"]]) & frame[column].notna().to_numpy()
    if not has.any() or not (chosen := which(frame, has)).any() or (chosen == has).all():
        return None
    values = frame[column].astype(object)
    values[chosen] = values[chosen].map(other)
    ids = frame["point_id"].astype(object)
    ids[chosen] += "-other"
    return replace(rows, frame=frame.assign(**{column: values.infer_objects(), "point_id": ids}))


CLOSELY = ("steps", "restarts", "train_samples", "revision")
"""Columns that are changed in every way, a few of each kind; the others between quantizers alone."""
EVERY_WAY = (between_quantizers, along_an_axis, between_seeds, at_one_point)


def kind_of(trainable: str, column: str) -> tuple[object, ...]:
    """What the rule can tell of a column.

    Network and training columns of one kind are alike to it and to all items, and so are conditions but the digest.
    """
    known = declared(trainable, ["vq", "dvq"])
    axis = known.axes[column]
    is_condition = column in known.conditions and column != known.digest
    if axis.role in ("model", "data") and not is_condition:
        return (column,)
    named = [
        (item.name, column in item.needs.draws, column in item.needs.captioned, column in item.needs.apart)
        for item in ITEMS.values()
        if column in (*item.needs.draws, *item.needs.captioned, *item.needs.apart)
    ]
    return (axis.role, *named, *(name for name in known.experiment.quantizers if known.has(name, column)))


def cases() -> Iterator[Any]:
    """One column of each kind, in every way in the stores with most items; what is left is marked slow."""
    for store, trainable in STORES.items():
        axes = declared(trainable, ["vq", "dvq"]).axes
        seen = {kind_of(trainable, column) for column in CLOSELY if column in axes and column in base(store).frame}
        for column in (name for name, axis in axes.items() if axis.role != "measurement"):
            if column not in base(store).frame or (store == "slices" and column not in CLOSELY):
                continue
            kind = kind_of(trainable, column)
            for which in EVERY_WAY if column in CLOSELY else (between_quantizers,):
                is_first = kind not in seen or column in CLOSELY
                is_main = which == between_quantizers or store in ("static_prior", "cifar10_lossless")
                marks = [] if is_first and is_main else [pytest.mark.slow]
                yield pytest.param(store, column, which, marks=marks, id=f"{store}-{column}-{which.__name__}")
            seen.add(kind)


@pytest.mark.long
@pytest.mark.parametrize(("store", "column", "which"), [*cases()])
def test_a_column_that_differs_is_drawn_or_captioned_or_refused(
    store: str, column: str, which: Callable[[pd.DataFrame, Mask], Mask]
) -> None:
    rows = changed(base(store), STORES[store], column, which)
    if rows is None:
        pytest.skip("all points would change")
    for item in items(rows).values():
        if wrong := [*silent_mixes(item, rows, column)]:
            raise AssertionError(f"{item.name}: {wrong[0]}")


def silent_mixes(item: Item, rows: Rows, column: str) -> Iterator[str]:
    try:
        selection = item.select(rows, item.needs)
    except ValueError:  # refused
        return
    if selection is None or column not in selection.rows or selection.rows[column].nunique() < 2:  # nothing to mix
        return
    found = problems(selection, allow_missing=True)
    if found:
        is_axis = any(column in grid.axes for grid in selection.grids)
        if not is_axis and "not fit" in found[0] and "repetitions" not in " ".join(found):
            assert any(column in line for line in found), found
            assert "--only" in " ".join(found)
        return
    if isinstance(item, generic.GenericItem):
        yield from mixes_of_generic(selection, item, column)
        return
    open_in = [
        grid.quantizer
        for grid in selection.grids
        if column not in grid.axes and selection.declared.has(grid.quantizer, column)
    ]
    if column in item.needs.draws:
        return
    for first in {selection.declared.axis(name, column).label: name for name in open_in}.values():
        alike = [name for name in open_in if are_alike(selection, name, first, column)]
        yield from untold(item, selection, column, selection.drawn[selection.drawn["quantizer"].isin(alike)])


def are_alike(selection: Selection, one: str, other: str, column: str) -> bool:
    """Whether two quantizers declare a column alike; otherwise it is not the same thing."""
    known = selection.declared
    has_both = known.has(one, column) and known.has(other, column)
    return has_both and known.axis(one, column) == known.axis(other, column)


def untold(item: Item, selection: Selection, column: str, here: pd.DataFrame) -> Iterator[str]:
    if not (several := several_values(here, column, item.needs.apart)):
        return
    data = [name for name, axis in selection.declared.axes.items() if axis.role == "data" and name in here]
    with style.printed():
        caption = (item.draw or item.product)(selection).caption
    is_captioned = column in item.needs.captioned and all(text in caption for text in several)
    if not is_captioned or several_values(here, column, data):
        yield f"{column} varies over {several} and nobody is told: {caption}"


def several_values(rows: pd.DataFrame, column: str, by: Sequence[str]) -> list[str]:
    """The values of a column in rows that are equal in other columns, where there are several."""
    groups = rows.groupby([*by], observed=True, dropna=False) if by else [((), rows)]
    for _, here in groups:
        if len(values := here[column].dropna().unique()) > 1:
            return [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    return []


def mixes_of_generic(selection: Selection, item: Item, column: str) -> Iterator[str]:
    points = selection.points.set_index("point_id")[column]  # type: ignore[attr-defined]
    role, label = selection.declared.axes[column].role, selection.declared.axes[column].label
    if isinstance(selection, Cuts):
        for field, line in ((cut.field, line) for cut in selection.cuts for line in cut.lines):
            shade = selection.declared.shade(line.quantizer)
            varied = line.points["point_id"].map(points).nunique() > 1
            if varied and column not in (field, shade):
                yield f"a line over {field} mixes {column}"
    elif item.name.endswith("versus"):
        pairs = comparisons(selection)
        a, b = (pairs[f"point_id_{side}"].map(points) for side in "ab")
        both = zip(pairs["a"], pairs["b"], strict=True)
        alike = np.array([are_alike(selection, str(one), str(other), column) for one, other in both], bool)
        if role != "model" and (alike & a.notna() & b.notna() & (a != b)).any():
            yield f"points of unequal {column} are compared"
    elif item.name.endswith("ranking") and role == "data":
        table = ranks(selection)
        values = table["point_id"].map(points)
        if (values.groupby(table["rate"]).nunique() > 1).any():
            yield f"points of unequal {column} are ranked together"
    elif item.name.endswith("rate") and points.nunique() > 1 and role != "model":
        with style.printed():
            product = item.product(selection)
        numbers = pd.read_csv(io.BytesIO(product.files[".csv"]))
        names = (label, selection.declared.axes[column].symbol or label)
        fields = selection.data_fields  # type: ignore[attr-defined]
        follows = bool(fields) and numbers.groupby(fields, dropna=False)[column].nunique().max() <= 1
        is_captioned = follows or any(name in product.caption for name in names)
        if numbers[column].nunique() < 2 or not is_captioned:
            yield f"{column} differs within a panel and nobody is told"


@pytest.mark.long
def test_every_item_is_looked_at_in_some_store() -> None:
    looked_at = {
        name for store in STORES for name, item in items(base(store)).items() if item.select(base(store), item.needs)
    }
    of_two_objectives = {"search_front"}
    of_codes_of_another_store = {"code_ledger", "code_ledger_table", "code_totals_over_slices"}
    assert {*items(base("cifar10_lossless"))} - looked_at == of_two_objectives | of_codes_of_another_store
