"""How fast a store fills, how long the rest will take, and what the cells that are done have cost."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from dvq_ray.sweep.cells import Cell, Point
from dvq_ray.sweep.spec import Resources
from dvq_ray.text import span

COLUMNS = ("cell_id", "run_id", "run_device", "run_started_at", "duration_seconds")
"""Columns of the rows that are needed here."""
RECENT = timedelta(minutes=10)
"""The rate is that of the cells that were finished this long before the last one."""
RECENT_CELLS = 100
"""The rate is that of at least this many cells, where the run has them."""
_SECOND = np.timedelta64(1, "s")
_GPU = re.compile(r"NVIDIA|GeForce|Tesla|Quadro|TITAN|Instinct|Radeon (?!Graphics)")
"""What only names of GPUs hold, as torch says them; processors with graphics of their own call it Radeon Graphics."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What was finished recently, in the run that finished a cell last."""

    cells: int
    span_seconds: float
    """Time from the first start of these cells to the last end."""
    at_once: float
    """How many ran at a time, on average."""
    longest_seconds: float
    """That one of them took."""
    last: datetime
    """When the last one was done."""

    @property
    def per_second(self) -> float:
        """Cells."""
        return self.cells / self.span_seconds


def pace(rows: pd.DataFrame, now: datetime) -> Pace | None:
    """Measures the pace from rows with `COLUMNS`; None where none of them says how long it took.

    A training that resumed from a checkpoint says when its last part began and how long all parts took, so its end is
    only known to lie before `now`.
    """
    seconds = rows["duration_seconds"].to_numpy(np.float64, na_value=np.nan)
    started = pd.to_datetime(rows["run_started_at"], utc=True).to_numpy("datetime64[us]")
    is_timed = np.isfinite(seconds) & ~np.isnat(started)
    if not is_timed.any():
        return None
    seconds, started = np.maximum(seconds[is_timed], 0.0), started[is_timed]
    ended = started + (seconds * 1e6).round().astype("timedelta64[us]")
    ended = np.minimum(ended, np.datetime64(now.astimezone(UTC).replace(tzinfo=None), "us"))
    last = ended.max()
    runs = pd.factorize(rows["run_id"])[0][is_timed]
    is_own = runs == runs[ended.argmax()]
    recent = np.flatnonzero(is_own & (ended >= last - RECENT))
    if len(recent) < RECENT_CELLS:
        own = np.flatnonzero(is_own)
        recent = own[np.argsort(ended[own])[-RECENT_CELLS:]]
    span = max(float((last - started[recent].min()) / _SECOND), 1e-3)
    return Pace(
        cells=len(recent),
        span_seconds=span,
        at_once=float((ended[recent] - started[recent]).sum() / _SECOND) / span,
        longest_seconds=float(seconds[recent].max()),
        last=pd.Timestamp(last, tz="UTC").to_pydatetime(),
    )


def seconds_per_nominal(timed: Iterable[tuple[Point, float]]) -> dict[str, float]:
    """Measured seconds over nominal seconds, by quantizer: the median, given points and the seconds of their cells."""
    ratios: dict[str, list[float]] = {}
    for point, seconds in timed:
        ratios.setdefault(str(point.settings.quantizer), []).append(seconds / point.nominal_seconds)
    return {quantizer: statistics.median(values) for quantizer, values in ratios.items()}


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """How long work will take, one cell at a time."""

    seconds: float | None
    """None if unknown."""
    basis: str
    """What the estimate is based on, as the end of a sentence; or why there is none."""
    measured: bool
    """Whether all of it is based on measured cells."""

    def in_words(self, at_once: float) -> str:
        """The estimate for this many cells at a time."""
        if self.seconds is None:
            return f"unknown: {self.basis}"
        count = f"{at_once:.0f}" if at_once >= 10 else f"{at_once:.2g}"
        return f"about {span(self.seconds / max(at_once, 1e-3))} with {count} at a time, {self.basis}"


MEASURED = "going by measured durations"
NOMINAL = "at nominal speed, not measured here"
"""Bases of estimates."""
UNKNOWN_ON_GPU = Estimate(seconds=None, basis="nothing was measured yet, and nominal speed is a CPU's", measured=False)


def estimate(cells: Sequence[Cell], measured: Mapping[str, float], resources: Resources) -> Estimate:
    """How long cells will take, given `seconds_per_nominal`.

    Quantizers that were not measured are assumed to be as fast as the others; if none was, to run at nominal speed.
    """
    unmeasured = sorted({cell.quantizer for cell in cells} - measured.keys())
    if not measured and cells and resources.gpu:
        return UNKNOWN_ON_GPU
    usual = statistics.median(measured.values()) if measured else 1.0
    seconds = sum(measured.get(cell.quantizer, usual) * cell.nominal_seconds() for cell in cells)
    basis = MEASURED if measured else NOMINAL
    if measured and unmeasured:
        basis += f" of others for {', '.join(unmeasured)}"
    return Estimate(seconds=seconds, basis=basis, measured=not unmeasured)


def is_gpu(device: str) -> bool:
    """Whether the name of a device is that of a GPU."""
    return bool(_GPU.search(device))


def hours(rows: pd.DataFrame, resources: Resources) -> dict[str, float]:
    """Hours of each kind of device that cells with a duration took, `GPU` and `CPU`, by what each trial holds."""
    places, devices = pd.factorize(rows["run_device"], use_na_sentinel=False)
    seconds = np.nan_to_num(rows["duration_seconds"].to_numpy(np.float64, na_value=0.0))
    by_device = np.bincount(places, seconds, len(devices))
    on_gpu = np.array([isinstance(device, str) and is_gpu(device) for device in devices], bool)
    gpu, cpu = float(by_device[on_gpu].sum()), float(by_device[~on_gpu].sum())
    return {"GPU": gpu * (resources.gpu or 1.0) / 3600, "CPU": cpu * resources.cpu / 3600}
