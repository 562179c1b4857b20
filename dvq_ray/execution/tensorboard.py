"""The curve of a training as a TensorBoard event file: `<store>/tensorboard/<cell id>/events.out.tfevents.dvq_ray`.

The format is TensorFlow's: records, each with its length and the masked CRC-32C of length and content, that hold
`Event` messages of protocol buffers. A file is written whole each time. TensorBoard continues to read after what it has
read, which is right because a curve only grows: equal rows take equally many bytes.
"""

from __future__ import annotations

import math
import struct
import time
import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any, TypeVar

from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c

from dvq_ray.experiment.experiment import Underway
from dvq_ray.store import Store
from dvq_ray.sweep.cells import Cell

FILE_NAME = "events.out.tfevents.dvq_ray"
"""TensorBoard takes for event files what has `tfevents` in its name."""
SETTINGS = "settings"
"""Tag of the text that says what is trained."""
_Told = TypeVar("_Told")


def event_file(curve: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], elapsed: str = "") -> bytes:
    """The file: a scalar for each column of the curve at each step, the settings as a text and as hyperparameters.

    Rows have `step` and, where it is named, the column `elapsed`; other values are numbers, or None for what is not
    known at that step. The seconds of training stand for the time of day, so that TensorBoard's relative axis is the
    time that training took.
    """
    return b"".join(_record(event.SerializeToString()) for event in _events(curve, settings, elapsed))


def _events(curve: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], elapsed: str) -> Iterator[Event]:
    yield Event(file_version="brain.Event:2")
    rows = [f"| {field} | {value} |" for field, value in settings.items()]
    yield Event(summary=summary.text(SETTINGS, "\n".join(["| field | value |", "| --- | --- |", *rows])))
    tags = list(dict.fromkeys(tag for row in curve for tag in row if tag not in ("step", elapsed)))
    of_experiment, of_session, _ = summary.hparams(dict(settings), dict.fromkeys(tags))
    yield Event(summary=of_experiment)
    yield Event(summary=of_session)
    for row in curve:
        values = [Summary.Value(tag=tag, simple_value=row[tag]) for tag in tags if row.get(tag) is not None]
        yield Event(wall_time=row.get(elapsed, 0.0), step=row["step"], summary=Summary(value=values))


def _record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    check_of_length, check = (struct.pack("<I", masked_crc32c(part)) for part in (length, content))
    return length + check_of_length + content + check


class _Followed:
    """A cell whose event file is kept up to date while it is computed."""

    def __init__(self, cell: Cell, store: Store) -> None:
        self._cell = cell
        self._store = store
        self._curve: Sequence[Mapping[str, Any]] = ()
        self._rows_kept = 0
        self._kept_at = -math.inf

    def logged(self, curve: Sequence[Mapping[str, Any]], every_seconds: float) -> None:
        """The curve so far, which is kept where it grew, at most once in so many seconds."""
        self._curve = curve
        if time.monotonic() - self._kept_at >= every_seconds:
            self.keep()

    def keep(self) -> None:
        """Keeps the curve so far, where it grew."""
        if len(self._curve) == self._rows_kept:
            return
        try:
            point = self._cell.point
            settings = {**point.settings.columns(), "seed": self._cell.seed}
            content = event_file(self._curve, settings, point.experiment.elapsed_column)
            self._store.write_tensorboard(self._cell.cell_id, FILE_NAME, content)
        except Exception as error:  # no training is to end because it cannot be watched
            with suppress(Warning):  # where warnings are errors
                warnings.warn(f"no event file for TensorBoard: {error}", stacklevel=2)
        self._rows_kept, self._kept_at = len(self._curve), time.monotonic()


def followed(
    events: Generator[tuple[Cell, _Told]], cells: Iterable[Cell], store: Store, every_seconds: float
) -> Generator[tuple[Cell, _Told]]:
    """Passes on what becomes of cells, and keeps the curves that they log meanwhile as event files in the store.

    A file is written at most once in so many seconds, and when its cell is done, has failed or is stopped.
    """
    files = {cell.cell_id: _Followed(cell, store) for cell in cells}
    with closing(events):
        try:
            for cell, event in events:
                if isinstance(event, Underway):
                    files[cell.cell_id].logged(event.logged, every_seconds)
                else:
                    files[cell.cell_id].keep()
                yield cell, event
        finally:
            for file in files.values():
                file.keep()
