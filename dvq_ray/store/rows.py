"""Reading the rows and curves of a store: of several rows of a cell, the one that stands."""

from __future__ import annotations

import functools
import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dvq_ray.declarations.settings import Settings
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.providers import ProviderError
from dvq_ray.store import attempts
from dvq_ray.store.columns import ATTEMPT, STANDING, known_kinds
from dvq_ray.store.identities import keys_of_ids, repeated
from dvq_ray.store.ordering import in_order
from dvq_ray.store.reading import Reader
from dvq_ray.store.storage import OutOfReachError, Storage, StoreError
from dvq_ray.store.summaries import Summary, summary_of_file


class Rows:
    """What the files of a store hold, in a folder or under a URI that pyarrow knows."""

    def __init__(self, location: str | Path) -> None:
        self._storage = Storage(location)
        self._root = self._storage.root
        self._reader = Reader(self._storage)
        self.location = self._storage.location
        self.absolute_location = self._storage.absolute_location
        """The location from any working folder: this is what workers get."""

    def load(
        self,
        columns: Sequence[str] | None = None,
        where: pc.Expression | None = None,
        *,
        categories: Collection[str] = (),
        without: Collection[str] = (),
        sort: bool = True,
    ) -> pd.DataFrame:
        """One row for each cell, sorted by `cell_id`; `where` keeps the rows for which it is true.

        Without `sort` they are as the files have them, which takes less time and memory.

        `categories` names columns of text or numbers with few different values: they come as pandas' categories, which
        are light. Where no `columns` are named all are read but for those in `without`, and rows have the values of
        fields that were added after they had been stored (`Settings.added`).

        Lists stay in Arrow's form, in which a million of them are light; each comes out as a list of Python's. Raises
        `StoreError` where a file cannot be read.
        """
        table = self._table(columns, where, categories, without, sort=sort)
        if table is None:
            return pd.DataFrame(columns=list(columns or STANDING))
        frame: pd.DataFrame = table.to_pandas(
            types_mapper=lambda kind: pd.ArrowDtype(kind) if pa.types.is_list(kind) else None,
            categories=[name for name in categories if name in table.column_names],
            self_destruct=True,
            split_blocks=True,  # no second copy of the numbers
            use_threads=False,  # which Arrow would keep, and a process with threads cannot be forked safely
        )
        del table
        pa.default_memory_pool().release_unused()
        return _with_added_fields(frame) if columns is None else frame

    def load_cells(self, cell_ids: Collection[str], columns: Sequence[str]) -> pd.DataFrame:
        """These columns of the rows of some cells, sorted by `cell_id`: only files that hold one of them are read.

        Raises `StoreError` where a file cannot be read, and where no file has one of the columns.
        """
        names, wanted = list(dict.fromkeys([*columns, *STANDING])), pa.array([*cell_ids], pa.string())

        def places(table: pa.Table) -> pa.ChunkedArray:
            return pc.is_in(table["cell_id"], value_set=wanted)

        def read(files: Sequence[str]) -> pa.Table:
            held = self._reader.each_file(files, ["cell_id"], lambda _, table: pc.any(places(table)).as_py())
            some = [path for path, is_held in held.items() if is_held]
            try:
                table = self._reader.read(some, names)
            except OutOfReachError:
                raise
            except StoreError:  # perhaps of a column that only other files have
                table = self._reader.read(files, names)
            return table.filter(places(table))

        table = self._reader.load("cells", read)
        if table is None:
            return pd.DataFrame(columns=list(columns))
        rows = attempts.best_rows(table.to_pandas()).sort_values("cell_id", ignore_index=True)
        return rows[list(columns)]

    def load_new(self, columns: Sequence[str], known: set[str]) -> pd.DataFrame:
        """The rows of files that are not among `known`, to which their paths are added: one row for each cell.

        So a process that looks again and again reads each file once. A column that no file has is empty. Raises
        `StoreError` where a file cannot be read.
        """

        def read(files: Sequence[str]) -> pd.DataFrame:
            fresh = [path for path in files if path not in known]
            if not fresh:
                return pd.DataFrame(columns=names)
            try:
                table = self._reader.read(fresh, names)
            except OutOfReachError:
                raise
            except StoreError:  # perhaps of a column that none of these files has
                table = self._reader.read(fresh)
            frame: pd.DataFrame = table.to_pandas(use_threads=False)
            known.update(fresh)
            return attempts.best_rows(frame.reindex(columns=names))

        names = list(dict.fromkeys([*columns, *STANDING]))
        found = self._reader.load("cells", read)
        return pd.DataFrame(columns=names) if found is None else found

    def table(self, columns: Sequence[str] | None = None, where: pc.Expression | None = None) -> pa.Table | None:
        """Loads rows as an Arrow table, reading only those that `where` keeps; None if there is no file."""
        return self._table(columns, where, (), (), sort=True)

    def _table(
        self,
        columns: Sequence[str] | None,
        where: pc.Expression | None,
        categories: Collection[str],
        without: Collection[str],
        *,
        sort: bool,
    ) -> pa.Table | None:
        names = None if columns is None else list(dict.fromkeys([*columns, *STANDING]))
        found = self._reader.load("cells", lambda files: self._read_standing(files, names, where, categories, without))
        if found is None:
            return None
        table, keys = found
        del found
        order = np.argsort(keys) if sort else None
        del keys
        names = list(columns or table.column_names)
        arrays = table.select(names).columns
        del table
        return in_order(names, arrays, order, categories)

    def _read_standing(
        self,
        files: Sequence[str],
        columns: Sequence[str] | None,
        where: pc.Expression | None,
        categories: Collection[str],
        without: Collection[str],
    ) -> tuple[pa.Table, npt.NDArray[np.uint64]]:
        """The rows that stand, and the keys of their cells' ids."""
        # Texts that are often the same are read and put in order as numbers. What a filter may read stays plain text.
        as_dictionaries = {*categories, *_texts()} - {"cell_id"} if where is None else set()
        table = self._reader.read(files, columns, where, as_dictionaries, without)
        every = table if where is None else self._reader.read(files, STANDING)
        keys = keys_of_ids(every["cell_id"].chunks)
        if len(repeated(keys)):
            table = self._standing(every, table)
        return table, keys if table is every else keys_of_ids(table["cell_id"].chunks)

    def _standing(self, every: pa.Table, table: pa.Table) -> pa.Table:
        """The rows of `table` that stand among `every` row; a filter must not hide them from those they beat."""
        best = attempts.best_rows(every.select(STANDING).to_pandas()).set_index(STANDING).index
        found = table.select(STANDING).to_pandas()
        stands = found.set_index(STANDING).index.isin(best) & ~found.duplicated().to_numpy()
        return table.filter(pa.array(stands))

    def summaries(self, by: Sequence[str], metric: str) -> pd.DataFrame:
        """The columns `by`, `n`, `mean` and `deviation` of a metric over finished cells: a row for each group, sorted.

        Files are read one by one, so that memory grows with the groups and by some bytes with each row. Values that are
        not finite are left out. Raises `StoreError` where a file cannot be read, or has no such column.
        """
        names = [*dict.fromkeys([*by, metric, "status"])]

        def read(files: Sequence[str]) -> Summary:
            beaten, summary = self._beaten(files), Summary(by)

            def summarise(path: str, table: pa.Table) -> pd.DataFrame:
                if path in beaten:
                    table = table.filter(pa.array(np.isin(np.arange(len(table)), beaten[path], invert=True)))
                return summary_of_file(table, by, metric)

            for part in self._reader.each_file(files, names, summarise, [*by, "status"]).values():
                summary.add(part)
            return summary

        return (self._reader.load("cells", read) or Summary(by)).table()

    def _beaten(self, files: Sequence[str]) -> dict[str, npt.NDArray[np.int64]]:
        """By file, the places of rows that do not stand."""
        ids = self._reader.each_file(files, ["cell_id"], lambda _, table: table["cell_id"].combine_chunks())
        if not ids:
            return {}
        ends = np.cumsum([len(its) for its in ids.values()])
        keys = keys_of_ids([*ids.values()])
        held = dict(zip(ids, np.split(keys, ends[:-1]), strict=True))
        del ids
        twice = repeated(keys)
        if not len(twice):
            return {}

        def rivals(path: str, table: pa.Table) -> pd.DataFrame:
            places = np.flatnonzero(np.isin(held[path], twice))
            found: pd.DataFrame = table.take(pa.array(places)).to_pandas()
            return found.assign(file=path, place=places)

        every = pd.concat(self._reader.each_file(files, STANDING, rivals).values(), ignore_index=True)
        losers = every.drop(attempts.best_rows(every).index)
        return {str(path): its["place"].to_numpy(np.int64) for path, its in losers.groupby("file")}

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
        """Statuses of those cells of a pack that the given run has committed: a restarted worker skips them.

        Cells that were committed together are in a file that bears the name of one of them.
        """
        wanted = {attempts.of_cell_and_run(cell_id, run_id) for cell_id in cell_ids}
        present = [path for path in self._reader.files("cells") if attempts.cell_and_run(path) in wanted]
        if not present:
            return {}
        table = self._reader.read(present, STANDING)
        found = attempts.best_rows(table.to_pandas())
        return dict(zip(found["cell_id"], found["status"], strict=True))


@functools.cache
def _texts() -> frozenset[str]:
    """The columns of text of all experiments."""
    return frozenset(name for name, kind in known_kinds().items() if pa.types.is_string(kind))


def _with_added_fields(frame: pd.DataFrame) -> pd.DataFrame:
    """Fills in the fields that rows do not have because they are older."""
    if not {"trainable", "quantizer"} <= {*frame.columns}:
        return frame
    for trainable, quantizer in frame[["trainable", "quantizer"]].drop_duplicates().itertuples(index=False):
        for name, value in _added(trainable, quantizer).items():
            if name not in frame:
                frame[name] = pd.Series(np.nan, frame.index, "str" if isinstance(value, str) else "float64")
            is_older = (frame["trainable"] == trainable) & (frame["quantizer"] == quantizer) & frame[name].isna()
            if is_older.any():
                if isinstance(frame[name].dtype, pd.CategoricalDtype) and value not in frame[name].cat.categories:
                    frame[name] = frame[name].cat.add_categories([value])
                frame.loc[is_older, name] = value
    return frame


def _added(trainable: Any, quantizer: Any) -> Mapping[str, Any]:
    variant = _variant(trainable, quantizer)
    return variant.added if variant else {}


def _logs_curve(trainable: str | None, quantizer: str | None) -> bool:
    variant = _variant(trainable, quantizer)
    return variant is not None and variant.logs_curve


def _variant(trainable: Any, quantizer: Any) -> type[Settings] | None:
    """The settings class of rows; None where it is not found, of a store from elsewhere."""
    if pd.isna(trainable) or pd.isna(quantizer):
        return None
    try:
        return find_experiment(trainable).variant(quantizer)
    except ProviderError:
        return None


def python_value(value: Any) -> Any:
    """A value of a loaded row as Python's own; None where it is missing."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return value
    return None if pd.isna(value) else value
