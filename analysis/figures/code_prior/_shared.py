"""What the items of code priors share: whose codes there are, what these are called, and what each prior says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiments.code_prior.registry import ladder
from dvq_ray.quantizer.registry import QUANTIZERS

from ...data.declared import label_of, setting
from ...data.needs import Grid, Needs, distinct
from ...data.selection import SelectedGrid, Selection
from ...data.summary import summaries
from ...draw.looks import known_look
from ...draw.style import Look
from ...naming import number
from ...output.words import either

TRAINABLE = "code_prior"
PARENT, PRIOR = "parent_point_id", "prior"
CODES, TOTAL, RECONSTRUCTION = "code_bits_per_dim", "total_bits_per_dim", "reconstruction_bits_per_dim"
SAMPLE, UNIFORM, BYTES = "code_bits_per_sample", "uniform_bits_per_sample", "prior_bytes"
SWEEPS = ("sweeps/code_prior.yaml",)
OF_PRIORS = frozenset({
    PARENT, PRIOR, "prior_width", "prior_convolutions", "prior_steps", "prior_learning_rate", "prior_batch_positions",
    "coded", "quantizer",
})  # fmt: skip
"""Fields that are not of the quantizer."""


def in_order(priors: Sequence[str]) -> list[str]:
    """Priors from what knows least of the codes to what knows most; those of other versions last."""
    known = ladder()
    return sorted(priors, key=lambda name: (known.index(name) if name in known else len(known), name))


def _own_fields(quantizer: str) -> list[str]:
    return [name for name in find_experiment(TRAINABLE).variant(quantizer).model_fields if name not in OF_PRIORS]


def grids_of(rows: pd.DataFrame) -> list[Grid]:
    """A grid for each point whose codes there are, with all priors of it that have a row."""
    found = []
    for (quantizer, parent), its in rows.groupby(["quantizer", PARENT], observed=True, sort=True):
        own = {name: distinct(its, name) for name in _own_fields(str(quantizer)) if its[name].notna().any()}
        axes = {PRIOR: tuple(in_order(distinct(its, PRIOR))), PARENT: (str(parent),), **own}
        found.append(Grid(quantizer=str(quantizer), label=f"{quantizer} {parent}", axes=axes))
    return found


def of_images(rows: pd.DataFrame) -> list[Grid]:
    """Those whose reconstructions are measured in bits: their codes and these add up."""
    totals = rows.groupby(PARENT, observed=True)[TOTAL].transform("count")
    return grids_of(rows[totals > 0])


def needs(*metrics: str, which: str, choose: Any = grids_of) -> Needs:
    """Needs of priors of points that share their data."""
    return Needs(
        trainable=TRAINABLE, metrics=metrics, grids=(which,), choose=choose, sweeps=SWEEPS, seeds_by=(),
        least_repetitions=1, apart=(PRIOR,),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """The codes of a point, with what each prior says of them."""

    grid: SelectedGrid
    label: str
    look: Look

    @property
    def priors(self) -> list[str]:
        """Those with a number, from what knows least to what knows most."""
        means = self.grid.means(self.grid.selection.needs.metrics[0])
        return in_order(means.loc[means["n"] > 0, PRIOR].tolist())

    def point(self, prior: str, metric: str) -> pd.DataFrame:
        """A row of `SelectedGrid.means`; NaN where codes of vectors have no such metric."""
        usable = self.grid.usable
        if usable.loc[usable[PARENT] == self.grid.axes[PARENT][0], metric].isna().any():
            return _summary(np.array([]))
        means = self.grid.means(metric)
        return means[means[PRIOR] == prior]

    def value(self, prior: str, metric: str) -> float:
        """The mean."""
        return float(self.point(prior, metric)["mean"].iloc[0])

    def best(self, metric: str) -> str:
        """The prior with the least of a metric."""
        return min(self.priors, key=lambda prior: self.value(prior, metric))

    def saved(self, prior: str) -> pd.DataFrame | None:
        """How much less codes cost than under the prior before it, in repetitions that both have; None for the first.

        A row as of `SelectedGrid.means`.
        """
        place = self.priors.index(prior)
        if not place:
            return None
        rows = self.grid.usable[self.grid.usable[PARENT] == self.grid.axes[PARENT][0]]
        costs = rows.set_index("seed").groupby(PRIOR, observed=True)[CODES]
        before, own = (costs.get_group(name) for name in (self.priors[place - 1], prior))
        return _summary((before - own).dropna().to_numpy(float))


def _summary(values: npt.NDArray[np.float64]) -> pd.DataFrame:
    return pd.DataFrame(summaries(values, np.zeros(len(values), np.int64), 1))


def entries_of(selection: Selection) -> list[Entry]:
    """In the order in which they are listed."""
    varying = _varying(selection.rows)
    grids = sorted(selection.grids, key=lambda grid: _order(grid, selection.rows))
    return [Entry(grid=grid, label=_label(grid, selection.rows, varying), look=_look(grid)) for grid in grids]


def _heads(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.drop_duplicates(PARENT)


def _varying(rows: pd.DataFrame) -> list[str]:
    """Columns in which the parents differ."""
    heads = _heads(rows[rows["dimension"].notna()])
    fields = dict.fromkeys(name for quantizer in heads["quantizer"].unique() for name in _own_fields(str(quantizer)))
    axes = find_experiment(TRAINABLE).axes(list(map(str, heads["quantizer"].unique())))
    no_model = {name for name, axis in axes.items() if axis.role != "model"}
    return [
        name for name in ("dimension", *fields) if name in heads and heads[name].nunique(dropna=name in no_model) > 1
    ]


def _label(grid: Grid, rows: pd.DataFrame, varying: Sequence[str]) -> str:
    """`DVQ, D = 64, L = 4`."""
    head, parts = _heads(grid.rows(rows[rows["dimension"].notna()])), [label_of(grid.quantizer)]
    shade = QUANTIZERS.find(grid.quantizer).value.shade
    axes = find_experiment(TRAINABLE).axes([grid.quantizer])
    for name in varying:
        value = head[name].iloc[0] if len(head) else None
        axis = axes.get(name)
        if name == "dimension" and len(head):
            parts.append(f"D = {number(value)}")
        elif axis is not None and name in grid.axes and (value != axis.neutral or name == shade):
            parts.append(setting(axis, value))
    return ", ".join(parts)


def _order(grid: Grid, rows: pd.DataFrame) -> tuple[Any, ...]:
    best = grid.rows(rows).groupby(PRIOR, observed=True)[TOTAL].mean().min()
    return (float("inf") if pd.isna(best) else float(best), grid.name)


def _look(grid: Grid) -> Look:
    shade = QUANTIZERS.find(grid.quantizer).value.shade
    value = grid.axes.get(shade, (None,))[0] if shade else None
    return known_look(grid.quantizer, value)


PRIORS_ARE = (
    "Priors: uniform, all codes equally likely; unigram, how often each code of a codebook occurs in training; "
    "positional, the same at each position; chain, each codebook given those before it at the position; spatial, a "
    "masked convolution over the positions before, and the chain"
)


def repetitions(selection: Selection) -> str:
    """`n = 3 seeds`."""
    counts = next(iter(selection.repetitions()), (0,))
    return f"n = {either(map(str, counts))} seeds"


def data_text(selection: Selection) -> str:
    """How many samples there were, and of which sweep."""
    rows = selection.drawn
    counts = [either([f"{int(value):,}" for value in sorted(rows[name].dropna().unique())])
              for name in ("train_rows", "test_rows")]  # fmt: skip
    sweeps = either(sorted(map(str, rows["parent_sweep"].dropna().unique())))
    return f"Codes of {sweeps}: {counts[0]} training and {counts[1]} test samples"
