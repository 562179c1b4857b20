"""The Parquet set of a sweep: how rows get in without harm, what is present, and reading it.

    <results>/<sweep>/
      sweep.yaml          the resolved sweep file, as run
      cells/*.parquet     a row for every finished cell, failed ones included
      curves/*.parquet    a row for every logged step of a cell
      checkpoints/        by cell id, of cells that were cut off; gone when the cell is done
      artifacts/          by cell id: images and the like
      tensorboard/        by cell id, where asked for: event files, a view of the curves
      drivers/            by run: when its driver was last alive, and how it ended; only `status` looks at them
      set_aside/          files of cells/ and curves/ that could not be read, and damaged ends of search/
      search/             the journal of a search, which Optuna writes

The store is also the state that a sweep resumes from. A file comes into being whole or not at all, and survives a power
cut under its name; those of the last seconds have names that begin with `_` until they do. A file is named after the
attempt at a cell that it holds, or after its content, so that writing one twice leaves one file.
`pandas.read_parquet("<store>/cells")` needs nothing of this module. The one rule that this module adds: where two rows
bear the same cell id (a failed cell was tried again, two drivers ran at once), a finished row stands before a failed
one, and a later row before an earlier.
"""

from __future__ import annotations

import functools
import hashlib
import operator
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from dvq_ray.experiment.experiment import Experiment
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.providers import ProviderError
from dvq_ray.store import attempts
from dvq_ray.store.columns import (
    ATTEMPT,
    FINISHED,
    KEYS,
    STANDING,
    cell_table,
    curve_table,
)
from dvq_ray.store.merging import Merger, in_parquet
from dvq_ray.store.reading import Reader
from dvq_ray.store.storage import Storage, below, checked_name


@dataclass(frozen=True, kw_only=True)
class SetAside:
    """A file that could not be read, and was taken out of its store's way."""

    path: str
    reason: str
    """Why, as the end of a sentence."""
    moved_to: str


class Store:
    """The results of one sweep, in a folder or under a URI that pyarrow knows (`s3://`, `gs://`, `file://`)."""

    def __init__(self, location: str | Path) -> None:
        self._storage = Storage(location)
        self._root = self._storage.root
        self._reader = Reader(self._storage)
        self._merger = Merger(self._storage, self._reader)
        self.location = self._storage.location
        self.absolute_location = self._storage.absolute_location
        """As `location`, from any working folder: what workers are told."""

    @staticmethod
    def under(results: str | Path, name: str) -> Store:
        """The store of that name in a folder, or below a URI, whose query then stays behind the name."""
        return Store(below(results, name))

    def place(self, name: str) -> str:
        """The location of a file or folder in this store, as one names it to a user."""
        return below(self.location, name)

    # Writing

    def write_cell(self, experiment: Experiment, row: Mapping[str, Any], curve: Sequence[Mapping[str, Any]]) -> None:
        """Commits one cell. Its curve comes first, so that a row in `cells` never lacks its curve."""
        for part, table in _tables(experiment, [(row, curve)]):
            self._storage.put(f"{self._root}/{part}/{attempts.file_name(row)}", in_parquet(table))

    def write_cell_unsynced(
        self, experiment: Experiment, row: Mapping[str, Any], curve: Sequence[Mapping[str, Any]]
    ) -> None:
        """As `write_cell`, in a tenth of the time on a disk, where a power cut takes the cell until it is gathered."""
        for part, table in _tables(experiment, [(row, curve)]):
            self._storage.put_unsynced(self._single(part, row), in_parquet(table))

    def gather(self, experiment: Experiment, written: Sequence[_Written]) -> None:
        """Puts rows, with their curves, that this process wrote unsynced into one file of each kind that is synced."""
        if len(written) == 1 and self._storage.is_local:
            self.write_cell(experiment, *written[0])
            self._storage.delete(self._single(part, written[0][0]) for part in KEYS)
        elif len(written) > 1:
            for part, table in _tables(experiment, written):
                self._merger.replace(part, [self._single(part, row) for row, _ in written], table)

    def _single(self, part: str, row: Mapping[str, Any]) -> str:
        """The file of a row that is not gathered yet."""
        name = attempts.file_name(row)
        # Object storage keeps what it has acknowledged.
        return f"{self._root}/{part}/{attempts.unsynced_name(name) if self._storage.is_local else name}"

    def write_artifact(self, cell_id: str, name: str, content: bytes) -> None:
        """Keeps a file, such as an image, beside a cell's row."""
        self._storage.put(self._artifact(cell_id, name), content)

    def write_tensorboard(self, cell_id: str, name: str, content: bytes) -> None:
        """Keeps a cell's event file, in place of the last one: TensorBoard reads on in the file that it opened."""
        self._storage.overwrite(f"{self._root}/tensorboard/{checked_name(cell_id)}/{name}", content)

    def write_checkpoint(self, cell_id: str, content: bytes) -> None:
        """Keeps what an unfinished cell can go on from, in place of what it kept before."""
        self._storage.put(self._checkpoint(cell_id), content)

    def reject_checkpoint(self, cell_id: str) -> str:
        """Sets an unreadable checkpoint aside, and says where."""
        aside = f"{self._root}/checkpoints/unreadable/{checked_name(cell_id)}-{uuid.uuid4().hex[:8]}"
        self._storage.move(self._checkpoint(cell_id), aside)
        return aside

    def drop_checkpoint(self, cell_id: str) -> None:
        """Removes the checkpoint of a cell that needs none any more."""
        self._storage.delete([self._checkpoint(cell_id)])

    def write_sweep(self, text: str) -> None:
        """Keeps the resolved sweep file beside its results."""
        self._storage.put(f"{self._root}/sweep.yaml", text.encode())

    def write_driver(self, name: str, content: bytes) -> None:
        """Keeps what a driver says of itself, in place of what it said before; a power cut ends the driver anyhow."""
        self._storage.put_unsynced(f"{self._root}/drivers/{checked_name(name)}", content)

    def drop_driver(self, name: str) -> None:
        """Removes what a driver said of itself."""
        self._storage.delete([f"{self._root}/drivers/{checked_name(name)}"])

    def check_place(self) -> None:
        """Raises `StoreError`, which says what to do, where a folder cannot be written or created. Writes nothing."""
        self._storage.check_place()

    def check_writable(self) -> None:
        """Raises `StoreError`, which says what to do, where nothing can be written here. Leaves nothing behind."""
        self._storage.check_writable()

    def set_aside_unreadable(self) -> list[SetAside]:
        """Moves files of `cells/` and `curves/` that are not Parquet, or not of a store, to `set_aside/`.

        The rest can then be read, and what the files held is missing: cells whose row or curve only they had are run
        again. Nothing is removed before its copy is complete, but for files that a power cut broke before they were
        synced. Where footers and keys of all files are in order nothing else is looked at. Raises `StoreError` where
        the storage is out of reach, and where files that are each in order do not go together.
        """
        aside = []
        for part in KEYS:
            for path, reason in self._reader.problems(part).items():
                if attempts.is_unsynced(path):
                    self._storage.delete([path])
                elif one := self._set_aside(part, path, reason):
                    aside.append(one)
        return aside

    def _set_aside(self, part: str, path: str, reason: str) -> SetAside | None:
        # Named after its content, so that doing this twice leaves one copy.
        digest = hashlib.sha256(self._storage.get(path) or b"").hexdigest()[:8]
        moved_to = f"{self._root}/set_aside/{part}/{path.rpartition('/')[2]}-{digest}"
        try:
            self._storage.move(path, moved_to)
        except FileNotFoundError:
            return None  # another process was faster
        return SetAside(path=path, reason=reason.lstrip(" :"), moved_to=moved_to)

    def merge(self) -> None:
        """Puts small files together and leaves out rows that a better one stands before.

        New files are complete before old ones go, so that an end at any moment loses nothing. A file that another
        process merged in the meantime ends the merge; there is then nothing left to do here.
        """
        try:
            self._merger.merge()
        except FileNotFoundError:
            return
        self._drop_checkpoints_left_behind()
        self._storage.remove_leftovers(
            *(f"{self._root}/{part}" for part in (*KEYS, "checkpoints", "artifacts", "drivers"))
        )

    def _drop_checkpoints_left_behind(self) -> None:
        """Those of cells whose worker ended between the row and the end of its checkpoint."""
        kept = [info.base_name for info in self._storage.files(f"{self._root}/checkpoints")]
        if kept:
            statuses = self.statuses()
            for cell_id in kept:
                if statuses.get(cell_id) in FINISHED:
                    self.drop_checkpoint(cell_id)

    # Reading

    def exists(self) -> bool:
        """Whether a sweep ever wrote here."""
        return bool(self._reader.files("cells")) or self.sweep_text() is not None

    def files_below(self, folder: str) -> list[fs.FileInfo]:
        """What there is in a folder of the store, such as `checkpoints`, and in the folders in it."""
        return self._storage.files(f"{self._root}/{checked_name(folder)}", below=True)

    def sweep_text(self) -> str | None:
        """The resolved sweep file, as run last; None in a store without one."""
        content = self._storage.get(f"{self._root}/sweep.yaml")
        return None if content is None else content.decode()

    def read_driver(self, name: str) -> bytes | None:
        """What `write_driver` kept last; None where there is none."""
        return self._storage.get(f"{self._root}/drivers/{checked_name(name)}")

    def read_artifact(self, cell_id: str, name: str) -> bytes | None:
        """A file that `write_artifact` kept; None where there is none."""
        return self._storage.get(self._artifact(cell_id, name))

    def read_checkpoint(self, cell_id: str) -> bytes | None:
        """What `write_checkpoint` kept last; None where there is none."""
        return self._storage.get(self._checkpoint(cell_id))

    def load(
        self,
        columns: Sequence[str] | None = None,
        where: pc.Expression | None = None,
        *,
        categories: Collection[str] = (),
    ) -> pd.DataFrame:
        """One row for each cell, sorted by `cell_id`; `where` keeps the rows for which it is true.

        `categories` names columns of text that is often the same: they come as pandas' categories, which are light.

        Lists stay in Arrow's form, in which a million of them are light; each comes out as a list of Python's. Raises
        `StoreError` where a file cannot be read.
        """
        table = self._table(columns, where, categories)
        if table is None:
            return pd.DataFrame(columns=list(columns or STANDING))
        frame: pd.DataFrame = table.to_pandas(
            types_mapper=lambda kind: pd.ArrowDtype(kind) if pa.types.is_list(kind) else None,
            categories=[name for name in categories if name in table.column_names],
            self_destruct=True,
            use_threads=False,  # which Arrow would keep, and a process with threads cannot be forked safely
        )
        del table
        pa.default_memory_pool().release_unused()
        return frame

    def table(self, columns: Sequence[str] | None = None, where: pc.Expression | None = None) -> pa.Table | None:
        """As `load`, in Arrow's form; None where there is no file. Rows that `where` leaves out are not read."""
        return self._table(columns, where, ())

    def _table(
        self, columns: Sequence[str] | None, where: pc.Expression | None, categories: Collection[str]
    ) -> pa.Table | None:
        names = None if columns is None else list(dict.fromkeys([*columns, *STANDING]))
        found = self._reader.load("cells", lambda files: self._read_standing(files, names, where, categories))
        if found is None:
            return None
        table, order = found
        del found
        names, arrays = list(columns or table.column_names), table.select(columns or table.column_names).columns
        del table

        def put_in_order(place: int) -> None:
            arrays[place] = arrays[place].combine_chunks().take(order)

        # Column by column, so that no second copy of everything is held.
        with ThreadPoolExecutor(pa.cpu_count()) as pool:
            list(pool.map(put_in_order, range(len(arrays))))
        ordered = pa.table(arrays, names)
        arrays.clear()
        pa.default_memory_pool().release_unused()  # as much again as the table holds
        return ordered

    def _read_standing(
        self,
        files: Sequence[str],
        columns: Sequence[str] | None,
        where: pc.Expression | None,
        categories: Collection[str],
    ) -> tuple[pa.Table, pa.Array]:
        """The rows that stand, and their places in the order of their cells' ids."""
        # What rows are told apart by stays plain, and so does what a filter may look at.
        as_dictionaries = {*categories} - {*STANDING} if where is None else set()
        table = self._reader.read(files, columns, where, as_dictionaries)
        every = table if where is None else self._reader.read(files, STANDING)
        order, is_repeated = _order_of(every["cell_id"])
        if is_repeated:
            table = self._standing(every, table)
        if table is not every:
            order, _ = _order_of(table["cell_id"])
        return table, order

    def _standing(self, every: pa.Table, table: pa.Table) -> pa.Table:
        """The rows of `table` that stand among `every` row; a filter must not hide them from those they beat."""
        best = attempts.best_rows(every.to_pandas()).set_index(STANDING).index
        found = table.select(STANDING).to_pandas()
        stands = found.set_index(STANDING).index.isin(best) & ~found.duplicated().to_numpy()
        return table.filter(pa.array(stands))

    def load_curves(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The logged steps of the rows that `load` gives, sorted by cell and step."""
        table = self._reader.load("curves", self._reader.read)
        cells = self._reader.load("cells", lambda files: self._reader.read(files, STANDING))
        if table is None or cells is None:
            return pd.DataFrame(columns=list(columns or ["cell_id", "step"]))
        best = attempts.best_rows(cells.to_pandas())[ATTEMPT.names]
        frame: pd.DataFrame = table.to_pandas().merge(best, on=ATTEMPT.names)
        frame = frame.drop_duplicates(["cell_id", "step"]).sort_values(["cell_id", "step"], ignore_index=True)
        return frame if columns is None else frame[list(columns)]

    def statuses(self) -> dict[str, str]:
        """Status of every cell that is present."""
        frame = self.load(columns=["cell_id", "status"])
        return dict(zip(frame["cell_id"], frame["status"], strict=True))

    def missing_curves(self) -> set[str]:
        """Cells that are done, and whose curve is missing though all of their kind log one.

        A broken file of curves leaves such cells, when it is set aside. In a store without the folder `curves/` nothing
        is missing: somebody has removed all of them.
        """
        if not self._storage.exists(f"{self._root}/curves"):
            return set()
        expected = self._attempts_with_curves()
        found = self._reader.load("curves", self._reader.attempts)
        missing = expected.join(found, ATTEMPT.names, join_type="left anti") if found is not None else expected
        if missing.num_rows:  # a merge drops curves of attempts that have been beaten since
            missing = missing.join(self._attempts_with_curves(), ATTEMPT.names, join_type="inner")
        return {*missing["cell_id"].to_pylist()}

    def _attempts_with_curves(self) -> pa.Table:
        rows = self.table([*ATTEMPT.names, "status", "trainable", "quantizer"])
        if rows is None:
            return ATTEMPT.empty_table()
        kinds = [
            (pc.field("trainable") == kind["trainable"]) & (pc.field("quantizer") == kind["quantizer"])
            for kind in rows.group_by(["trainable", "quantizer"]).aggregate([]).to_pylist()
            if _logs_curve(kind["trainable"], kind["quantizer"])
        ]
        logs_curve = functools.reduce(operator.or_, kinds, pc.scalar(False))
        return rows.filter((pc.field("status") == "ok") & logs_curve).select(ATTEMPT.names)

    def written_by_run(self, run_id: str, cell_ids: Iterable[str]) -> dict[str, str]:
        """Statuses of those cells of which the given run has written a file: a restarted worker skips them."""
        wanted = {attempts.of_cell_and_run(cell_id, run_id) for cell_id in cell_ids}
        present = [path for path in self._reader.files("cells") if attempts.cell_and_run(path) in wanted]
        if not present:
            return {}
        table = self._reader.read(present, STANDING)
        found = attempts.best_rows(table.to_pandas())
        return dict(zip(found["cell_id"], found["status"], strict=True))

    def _checkpoint(self, cell_id: str) -> str:
        return f"{self._root}/checkpoints/{checked_name(cell_id)}"

    def _artifact(self, cell_id: str, name: str) -> str:
        return f"{self._root}/artifacts/{checked_name(cell_id)}/{checked_name(name)}"


_Written = tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]
"""A row and its curve."""


def _tables(experiment: Experiment, written: Sequence[_Written]) -> list[tuple[str, pa.Table]]:
    """Rows and curves by the folder that they go to, in the order in which they must be written."""
    rows, curves = cell_table(experiment, [row for row, _ in written]), curve_table(experiment, written)
    return [("curves", curves), ("cells", rows)] if len(curves) else [("cells", rows)]


def _order_of(cell_ids: pa.ChunkedArray) -> tuple[pa.Array, bool]:
    """The places of the ids in their order, and whether one is there twice."""
    ids = cell_ids.combine_chunks()
    order = pc.sort_indices(ids)
    ordered = ids.take(order)
    return order, bool(pc.any(pc.equal(ordered[1:], ordered[:-1])).as_py())


def _logs_curve(trainable: str | None, quantizer: str | None) -> bool:
    if trainable is None or quantizer is None:
        return False
    try:
        return find_experiment(trainable).variant(quantizer).logs_curve
    except ProviderError:  # of a store from elsewhere
        return False
