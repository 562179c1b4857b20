"""The Parquet set of a sweep: how rows get in without harm, what is present, and reading it.

    <results>/<sweep>/
      sweep.yaml          the resolved sweep file, as run
      cells/*.parquet     a row for every finished cell, failed ones included
      curves/*.parquet    a row for every logged step of a cell
      checkpoints/        by cell id, of cells that were cut off; gone when the cell is done
      artifacts/          by cell id: images and the like
      tensorboard/        by cell id, where asked for: event files, a view of the curves
      set_aside/          files of cells/ and curves/ that could not be read

The store is also the state that a sweep resumes from. A file comes into being whole or not at all, and is named after
the cells that it holds and the run that computed them, so that writing one twice leaves one file.
`pandas.read_parquet("<store>/cells")` needs nothing of this module. The one rule that this module adds: where two rows
bear the same cell id (a failed cell was tried again, two drivers ran at once), a finished row stands before a failed
one, and a later row before an earlier.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

from dvq_ray.columns import (
    ATTEMPT,
    FINISHED,
    KEYS,
    STANDING,
    SUGGESTION,
    Status,
    cell_schema,
    cell_table,
    curve_schema,
    curve_table,
    first_line,
    is_strange,
    known_kinds,
    problem_of_content,
)
from dvq_ray.experiments import Experiment
from dvq_ray.storage import OutOfReachError, Storage, StoreError, below, checked_name

__all__ = [
    "FINISHED", "ROWS_IN_A_FILE", "SUGGESTION", "OutOfReachError", "SetAside", "Status", "Store", "StoreError",
    "cell_schema", "curve_schema",
]  # fmt: skip

_Found = TypeVar("_Found")
ROWS_IN_A_FILE = 200_000
"""Merged files grow up to this; larger ones are left alone."""
_FILE = "__filename"
"""Where a row is read from, as Arrow names that column."""


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
        self._fs, self._root = self._storage.filesystem, self._storage.root
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
        name = _single_name(row["cell_id"], row["run_id"])
        if curve:
            self._write("curves", name, curve_table(experiment, [(row, curve)]))
        self._write("cells", name, cell_table(experiment, [row]))

    def gather(
        self, experiment: Experiment, written: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]
    ) -> None:
        """Puts rows, with their curves, that this process committed one by one into one file of each kind."""
        if len(written) > 1:
            names = [_single_name(row["cell_id"], row["run_id"]) for row, _ in written]
            rows = cell_table(experiment, [row for row, _ in written])
            curves = curve_table(experiment, written)
            for part, table in (("curves", curves), ("cells", rows)):
                self._replace(part, [f"{self._root}/{part}/{name}" for name in names], table)

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

    def check_writable(self) -> None:
        """Raises `StoreError`, which says what to do, where nothing can be written here. Leaves nothing behind."""
        self._storage.check_writable()

    def set_aside_unreadable(self) -> list[SetAside]:
        """Moves files of `cells/` and `curves/` that are no Parquet, or not of a store, to `set_aside/`.

        The rest can then be read, and what the files held is missing: cells that only they had are run again. A cell
        keeps its row where its curve alone was lost. Nothing is removed before its copy is complete. Where footers
        and keys of all files are in order nothing else is looked at. Raises `StoreError` where the storage is out of
        reach, and where files that are each in order do not go together.
        """
        aside = []
        for part, keys in KEYS.items():
            while (problem := self._problem_of_part(part, keys)) is not None:
                files = self._files(part)
                found = self._problems(files, exactly=False) or self._problems(files, exactly=True)
                if not found:
                    raise problem
                aside += [one for path, reason in found.items() if (one := self._set_aside(part, path, reason))]
        return aside

    def _problem_of_part(self, part: str, keys: Sequence[str]) -> StoreError | None:
        try:
            table = self._load(part, lambda files: self._read(files, keys))
        except OutOfReachError:
            raise
        except StoreError as error:
            return error
        lacking = [] if table is None else [name for name in keys if table[name].null_count]
        return StoreError(f"{self.place(part)}: there are rows without {', '.join(lacking)}") if lacking else None

    def _problems(self, files: Sequence[str], *, exactly: bool) -> dict[str, str]:
        problems = self._storage.each(lambda path: self._problem_of_file(path, exactly=exactly), files)
        return {path: problem.lstrip(" :") for path, problem in zip(files, problems, strict=True) if problem}

    def _set_aside(self, part: str, path: str, reason: str) -> SetAside | None:
        # Named after its content, so that doing this twice leaves one copy.
        digest = hashlib.sha256(self._storage.get(path) or b"").hexdigest()[:8]
        moved_to = f"{self._root}/set_aside/{part}/{path.rpartition('/')[2]}-{digest}"
        try:
            self._storage.move(path, moved_to)
        except FileNotFoundError:
            return None  # another process was faster
        return SetAside(path=path, reason=reason, moved_to=moved_to)

    def merge(self) -> None:
        """Puts small files together and leaves out rows that a better one stands before.

        New files are complete before old ones go, so that an end at any moment loses nothing. A file that another
        process merged in the meantime ends the merge; there is then nothing left to do here.
        """
        try:
            attempts = self._merge_cells_part()
            self._merge_curves_part(attempts)
        except FileNotFoundError:
            return
        self._drop_checkpoints_left_behind()
        self._storage.remove_leftovers(*(f"{self._root}/{part}" for part in (*KEYS, "checkpoints", "artifacts")))

    def _merge_cells_part(self) -> pd.DataFrame:
        """Returns every attempt that has a row, with `stands`: whether it is the one that counts."""
        files = self._files("cells")
        if not files:
            return pd.DataFrame(columns=[*ATTEMPT.names, "stands"])
        frame: pd.DataFrame = self._read(files, [*STANDING, _FILE]).to_pandas()
        kept = _best_rows(frame)
        frame["stands"] = frame.index.isin(kept.index)
        sizes = frame[_FILE].value_counts()
        beaten = set(frame.loc[~frame["stands"], _FILE])
        small = {name for name, rows in sizes.items() if rows < ROWS_IN_A_FILE}
        if beaten or len(small) > 1:
            stale = sorted(str(name) for name in small | beaten)
            table = self._read(stale)
            best = _best_rows(table.select(STANDING).to_pandas())
            wanted = best.index[best["cell_id"].isin(kept.loc[kept[_FILE].isin(stale), "cell_id"])]
            self._replace("cells", stale, table.take(pa.array(sorted(wanted))))
        # An attempt is in two files where a merge died before it removed the old ones.
        return frame.groupby(ATTEMPT.names)["stands"].any().reset_index()

    def _merge_curves_part(self, attempts: pd.DataFrame) -> None:
        files = self._files("curves")
        sizes = self._storage.each(self._rows, files)
        small = [name for name, rows in zip(files, sizes, strict=True) if rows < ROWS_IN_A_FILE]
        if len(small) > 1:
            table = self._read(small)
            steps = table.select([*ATTEMPT.names, "step"]).to_pandas()
            keys = steps.merge(attempts, how="left", on=ATTEMPT.names)
            standing = attempts[attempts["stands"]].set_index("cell_id")["run_started_at"]
            # A curve without a row is of a cell that is being written just now, or whose worker died in between. It
            # is the latter where the cell was done again since.
            left_behind = keys["stands"].isna() & (keys["run_started_at"] < keys["cell_id"].map(standing))
            current = table.filter(pa.array(keys["stands"].ne(False) & ~left_behind & ~steps.duplicated()))
            self._replace("curves", small, current.sort_by([("cell_id", "ascending"), ("step", "ascending")]))

    def _drop_checkpoints_left_behind(self) -> None:
        """Those of cells whose worker ended between the row and the end of its checkpoint."""
        kept = [info.base_name for info in self._storage.files(f"{self._root}/checkpoints")]
        if kept:
            statuses = self.statuses()
            for cell_id in kept:
                if statuses.get(cell_id) in FINISHED:
                    self.drop_checkpoint(cell_id)

    def _replace(self, part: str, old: Sequence[str], table: pa.Table) -> None:
        """Writes `table` and then removes the files that it was read from."""
        for start in range(0, table.num_rows, ROWS_IN_A_FILE):
            piece = table.slice(start, ROWS_IN_A_FILE)
            attempts = sorted(
                {(row["cell_id"], row["run_started_at"]) for row in piece.select(ATTEMPT.names).to_pylist()}
            )
            digest = hashlib.sha256(repr(attempts).encode()).hexdigest()[:16]
            name = f"{len(attempts)}-cells-{digest}.parquet"
            self._write(part, name, piece)
            old = [path for path in old if not path.endswith(f"/{name}")]
        self._storage.delete(old)  # or another process did, which merged the same files

    def _write(self, part: str, name: str, table: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        if table.num_rows > 1:
            # zstd takes a seventh fewer bytes, and a third more time to read.
            pq.write_table(table, sink, compression="snappy")
        else:  # a file that soon becomes part of another: dictionaries and statistics would cost half of its time
            pq.write_table(table, sink, compression="none", use_dictionary=False, write_statistics=False)
        self._storage.put(f"{self._root}/{part}/{name}", sink.getvalue())

    # Reading

    def exists(self) -> bool:
        """Whether a sweep ever wrote here."""
        return bool(self._files("cells")) or self.sweep_text() is not None

    def files_below(self, folder: str) -> list[fs.FileInfo]:
        """What there is in a folder of the store, such as `checkpoints`, and in the folders in it."""
        return self._storage.files(f"{self._root}/{checked_name(folder)}", below=True)

    def sweep_text(self) -> str | None:
        """The resolved sweep file, as run last; None in a store without one."""
        content = self._storage.get(f"{self._root}/sweep.yaml")
        return None if content is None else content.decode()

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
        found = self._load("cells", lambda files: self._read_standing(files, names, where, categories))
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
        table = self._read(files, columns, where, as_dictionaries)
        if not {*STANDING} <= {*table.column_names}:
            raise StoreError(self._why_unreadable(files))
        every = table if where is None else self._read(files, STANDING)
        order, is_repeated = _order_of(every["cell_id"])
        if is_repeated:
            table = self._standing(every, table)
        if table is not every:
            order, _ = _order_of(table["cell_id"])
        return table, order

    def _standing(self, every: pa.Table, table: pa.Table) -> pa.Table:
        """The rows of `table` that stand among `every` row; a filter must not hide them from those they beat."""
        best = _best_rows(every.to_pandas()).set_index(STANDING).index
        attempts = table.select(STANDING).to_pandas()
        stands = attempts.set_index(STANDING).index.isin(best) & ~attempts.duplicated().to_numpy()
        return table.filter(pa.array(stands))

    def load_curves(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The logged steps of the rows that `load` gives, sorted by cell and step."""
        table = self._load("curves", self._read)
        cells = self._load("cells", lambda files: self._read(files, STANDING))
        if table is None or cells is None:
            return pd.DataFrame(columns=list(columns or ["cell_id", "step"]))
        best = _best_rows(cells.to_pandas())[ATTEMPT.names]
        frame: pd.DataFrame = table.to_pandas().merge(best, on=ATTEMPT.names)
        frame = frame.drop_duplicates(["cell_id", "step"]).sort_values(["cell_id", "step"], ignore_index=True)
        return frame if columns is None else frame[list(columns)]

    def statuses(self) -> dict[str, str]:
        """Status of every cell that is present."""
        frame = self.load(columns=["cell_id", "status"])
        return dict(zip(frame["cell_id"], frame["status"], strict=True))

    def written_by_run(self, run_id: str, cell_ids: Iterable[str]) -> dict[str, str]:
        """Statuses of those cells whose single file was written in the given run: a restarted worker skips them."""
        names = [f"{self._root}/cells/{_single_name(cell_id, run_id)}" for cell_id in cell_ids]
        present = self._storage.existing(names)
        if not present:
            return {}
        table = self._read(present, ["cell_id", "status"])
        return dict(zip(table["cell_id"].to_pylist(), table["status"].to_pylist(), strict=True))

    def _checkpoint(self, cell_id: str) -> str:
        return f"{self._root}/checkpoints/{checked_name(cell_id)}"

    def _artifact(self, cell_id: str, name: str) -> str:
        return f"{self._root}/artifacts/{checked_name(cell_id)}/{checked_name(name)}"

    def _load(self, part: str, read: Callable[[Sequence[str]], _Found]) -> _Found | None:
        for _ in range(5):
            files = self._files(part)
            if not files:
                return None
            try:
                return read(files)
            except FileNotFoundError:
                time.sleep(0.1)  # merged by another process between listing and reading
        raise StoreError(f"{self.place(part)}: its files keep changing; try again when no sweep runs on it")

    def _files(self, part: str) -> list[str]:
        return [info.path for info in self._storage.files(f"{self._root}/{part}") if info.extension == "parquet"]

    def _rows(self, path: str) -> int:
        try:
            return self._storage.patiently(path, lambda: int(pq.read_metadata(path, filesystem=self._fs).num_rows))
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"{path} cannot be read: {first_line(error)}") from error

    def _read(
        self,
        files: Sequence[str],
        columns: Sequence[str] | None = None,
        where: pc.Expression | None = None,
        as_dictionaries: Collection[str] = (),
    ) -> pa.Table:
        """The files as one table with the columns of all of them; a column that a file lacks is empty there.

        Columns of text may come as dictionaries, which is many times lighter where values are few.
        """
        try:
            if where is None:
                schema, table = self._read_one_by_one(files, columns, as_dictionaries)
            else:
                schema, table = self._storage.patiently(self.location, lambda: self._scan(files, columns, where))
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            why = self._why_unreadable(files) or f"{self.location} cannot be read: {first_line(error)}"
            raise StoreError(why) from error
        strange = [field for field in schema if field.name in known_kinds() and is_strange(field)]
        foreign = "cell_id" in table.column_names and table["cell_id"].null_count
        if strange or foreign:
            raise StoreError(self._why_unreadable(files))
        return table

    def _scan(
        self, files: Sequence[str], columns: Sequence[str] | None, where: pc.Expression
    ) -> tuple[pa.Schema, pa.Table]:
        """What the files hold in all, and the rows for which `where` is true: what it leaves out is not read."""
        factory = ds.FileSystemDatasetFactory(self._fs, list(files), ds.ParquetFileFormat())
        # Without metadata: pandas would make indices of columns where a file's own says so.
        dataset = factory.finish(factory.inspect().remove_metadata())
        return dataset.schema, dataset.to_table(columns=columns, filter=where)

    def _read_one_by_one(
        self, files: Sequence[str], columns: Sequence[str] | None, as_dictionaries: Collection[str]
    ) -> tuple[pa.Schema, pa.Table]:
        """What the files hold in all, and all rows: of many small files in half the time of a scan."""

        def read(path: str) -> tuple[pa.Schema, pa.Table]:
            return self._storage.patiently(path, lambda: self._read_file(path, columns, as_dictionaries))

        schemas, tables = zip(*self._storage.each(read, files), strict=True)
        schema = pa.unify_schemas(dict.fromkeys(schemas))
        if lacking := [name for name in columns or () if name not in {*schema.names, _FILE}]:
            raise pa.ArrowInvalid(f"no file has the column {', '.join(lacking)}")
        return schema, pa.concat_tables(tables, promote_options="default")

    def _read_file(
        self, path: str, columns: Sequence[str] | None, as_dictionaries: Collection[str]
    ) -> tuple[pa.Schema, pa.Table]:
        with self._fs.open_input_file(path) as file:
            metadata = pq.read_metadata(file)
            schema = metadata.schema.to_arrow_schema().remove_metadata()
            some = [field.name for field in schema if field.name in as_dictionaries and pa.types.is_string(field.type)]
            ahead = not self._storage.is_local  # many parts of the file in one request
            parquet = pq.ParquetFile(file, metadata=metadata, read_dictionary=some, pre_buffer=ahead)
            table = parquet.read(columns, use_threads=False).replace_schema_metadata()
        if columns is not None:
            missing = {name: pa.nulls(metadata.num_rows) for name in columns if name not in table.column_names}
            if _FILE in columns:
                missing[_FILE] = pa.repeat(path, metadata.num_rows)
            table = pa.table({name: missing[name] if name in missing else table[name] for name in columns})
        return schema, table

    def _why_unreadable(self, files: Sequence[str]) -> str:
        """What is wrong with the first file that is no Parquet file or not of a store; empty where all are in order."""
        problems = (f"{path}{problem}" for path in files if (problem := self._problem_of_file(path, exactly=False)))
        return next(problems, "")

    def _problem_of_file(self, path: str, *, exactly: bool) -> str:
        content = self._storage.get(path)
        part = path.removeprefix(f"{self._root}/").partition("/")[0]
        return "" if content is None else problem_of_content(content, KEYS[part], exactly=exactly)


def _single_name(cell_id: str, run_id: str) -> str:
    # With the run, so that no run ever overwrites, or removes after merging, what another one wrote.
    return checked_name(f"{cell_id}-{run_id[:8]}.parquet")


def _order_of(cell_ids: pa.ChunkedArray) -> tuple[pa.Array, bool]:
    """The places of the ids in their order, and whether one is there twice."""
    ids = cell_ids.combine_chunks()
    order = pc.sort_indices(ids)
    ordered = ids.take(order)
    return order, bool(pc.any(pc.equal(ordered[1:], ordered[:-1])).as_py())


def _best_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The row of each cell that stands, by the module's rule; keeps the index of `frame`."""
    if not frame["cell_id"].duplicated().any():
        return frame
    rank = frame["status"].map({status: place for place, status in enumerate(FINISHED)}).fillna(len(FINISHED))
    order = frame.assign(_rank=rank).sort_values(["_rank", "run_started_at"], ascending=[True, False], kind="stable")
    return frame.loc[order.drop_duplicates("cell_id").index.sort_values()]
