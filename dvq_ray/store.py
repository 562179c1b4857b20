"""The Parquet set of a sweep: its columns, how rows get in without harm, what is present, and reading it.

    <results>/<sweep>/
      sweep.yaml          the resolved sweep file, as run
      cells/*.parquet     a row for every finished cell, failed ones included
      curves/*.parquet    a row for every logged step of a cell
      checkpoints/        by cell id, of cells that were cut off; gone when the cell is done
      artifacts/          by cell id: images and the like

The store is also the state that a sweep resumes from. A file comes into being whole or not at all, and is named after
the cells that it holds and the run that computed them, so that writing one twice leaves one file.
`pandas.read_parquet("<store>/cells")` needs nothing of this module. The one rule that this module adds: where two rows
bear the same cell id (a failed cell was tried again, two drivers ran at once), a finished row stands before a failed
one, and a later row before an earlier.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import types
import typing
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields as dataclass_fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

from dvq_ray.experiments import EXPERIMENTS, Experiment

_Found = TypeVar("_Found")
Status = Literal["ok", "stopped", "diverged", "out_of_memory", "error"]
FINISHED: tuple[str, ...] = ("ok", "stopped")
"""Statuses of cells that are not run again."""

ROWS_IN_A_FILE = 200_000
"""Merged files grow up to this; larger ones are left alone."""

_IDENTITY = {"cell_id": pa.string(), "point_id": pa.string(), "sweep": pa.string(), "trainable": pa.string(),
             "revision": pa.int64(), "status": pa.string(), "error": pa.string()}  # fmt: skip
_PROVENANCE = {"run_id": pa.string(), "run_commit": pa.string(), "run_versions": pa.string(),
               "run_host": pa.string(), "run_device": pa.string(),
               "run_started_at": pa.timestamp("us", tz="UTC")}  # fmt: skip
SUGGESTION = "search_suggestion"
"""The column that says for which suggestion a cell was first computed; empty, or not there, for cells of a grid."""
_SEARCH = {SUGGESTION: pa.int64(), "search_objective": pa.float64(), "search_stopped_at_step": pa.int64()}
"""The suggestion that a cell was first computed for, its own value of the (first) objective, where it was stopped."""
_ATTEMPT = pa.schema({"cell_id": pa.string(), "run_started_at": _PROVENANCE["run_started_at"]})
"""Names one attempt at a cell: what ties a curve to its row."""
_STANDING = ["cell_id", "status", "run_started_at"]
"""What decides which row of a cell stands."""
_ARROW = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}


class StoreError(RuntimeError):
    """A store that cannot be read or written; says which file and why."""


@cache
def cell_schema(experiment: Experiment, *, searched: bool = False) -> pa.Schema:
    """Columns of a cell's row: identity, configuration, metrics, provenance; of a search, what that adds."""
    columns: dict[str, pa.DataType] = dict(_IDENTITY)
    for settings in experiment.variants.values():
        columns |= {name: _arrow(info.annotation) for name, info in settings.model_fields.items()}
    columns["seed"] = pa.int64()
    hints = typing.get_type_hints(experiment.metrics)
    columns |= {field.name: _arrow(hints[field.name]) for field in dataclass_fields(experiment.metrics)}
    return pa.schema({**columns, **(_SEARCH if searched else {}), **_PROVENANCE})


@cache
def curve_schema(experiment: Experiment) -> pa.Schema:
    """Columns of a logged step. `run_started_at` ties it to the row of the same attempt at the cell."""
    hints = typing.get_type_hints(experiment.curve)
    logged = {field.name: _arrow(hints[field.name]) for field in dataclass_fields(experiment.curve)}
    return pa.schema({"cell_id": pa.string(), **logged, "run_started_at": _PROVENANCE["run_started_at"]})


def _arrow(annotation: Any) -> pa.DataType:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _arrow(arguments[0])
    if origin is Literal:
        return pa.string()
    if origin is list:
        return pa.list_(_arrow(arguments[0]))
    if origin in (types.UnionType, typing.Union):
        return _arrow(next(argument for argument in arguments if argument is not type(None)))
    return _ARROW[annotation]


class Store:
    """The results of one sweep, in a folder or under a URI that pyarrow knows (`s3://`, `gs://`, `file://`)."""

    def __init__(self, location: str | Path) -> None:
        self.location = str(location).rstrip("/")
        if "://" in self.location:
            try:
                self._fs, root = fs.FileSystem.from_uri(self.location)
            except (pa.ArrowInvalid, OSError) as error:
                raise StoreError(f"{self.location} cannot be opened: {error}") from error
        else:
            self._fs, root = fs.LocalFileSystem(), str(Path(self.location).absolute())
        self._root = root.rstrip("/")
        self.absolute_location = self.location if "://" in self.location else self._root
        """As `location`, from any working folder: what workers are told."""
        self._is_local = isinstance(self._fs, fs.LocalFileSystem)

    # Writing

    def write_cell(self, experiment: Experiment, row: Mapping[str, Any], curve: Sequence[Mapping[str, Any]]) -> None:
        """Commits one cell. Its curve comes first, so that a row in `cells` never lacks its curve."""
        name = _single_name(row["cell_id"], row["run_id"])
        if curve:
            self._write("curves", name, _curve_table(experiment, [(row, curve)]))
        self._write("cells", name, _cell_table(experiment, [row]))

    def gather(
        self, experiment: Experiment, written: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]
    ) -> None:
        """Puts rows, with their curves, that this process committed one by one into one file of each kind."""
        if len(written) > 1:
            names = [_single_name(row["cell_id"], row["run_id"]) for row, _ in written]
            rows = _cell_table(experiment, [row for row, _ in written])
            curves = _curve_table(experiment, written)
            for part, table in (("curves", curves), ("cells", rows)):
                self._replace(part, [f"{self._root}/{part}/{name}" for name in names], table)

    def write_artifact(self, cell_id: str, name: str, content: bytes) -> None:
        """Keeps a file, such as an image, beside a cell's row."""
        self._put(f"{self._root}/artifacts/{cell_id}/{name}", content)

    def write_checkpoint(self, cell_id: str, content: bytes) -> None:
        """Keeps what an unfinished cell can go on from, in place of what it kept before."""
        self._put(self._checkpoint(cell_id), content)

    def reject_checkpoint(self, cell_id: str) -> str:
        """Sets an unreadable checkpoint aside, and says where."""
        aside = f"{self._root}/checkpoints/unreadable/{cell_id}-{uuid.uuid4().hex[:8]}"
        self._fs.create_dir(os.path.dirname(aside))
        self._fs.move(self._checkpoint(cell_id), aside)
        return aside

    def drop_checkpoint(self, cell_id: str) -> None:
        """Removes the checkpoint of a cell that needs none any more."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.delete_file(self._checkpoint(cell_id))

    def write_sweep(self, text: str) -> None:
        """Keeps the resolved sweep file beside its results."""
        self._put(f"{self._root}/sweep.yaml", text.encode())

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

    def _merge_cells_part(self) -> pd.DataFrame:
        """Returns every attempt that has a row, with `stands`: whether it is the one that counts."""
        files = self._files("cells")
        if not files:
            return pd.DataFrame(columns=[*_ATTEMPT.names, "stands"])
        frame: pd.DataFrame = self._read(files, [*_STANDING, "__filename"]).to_pandas()
        kept = _best_rows(frame)
        frame["stands"] = frame.index.isin(kept.index)
        sizes = frame["__filename"].value_counts()
        beaten = set(frame.loc[~frame["stands"], "__filename"])
        small = {name for name, rows in sizes.items() if rows < ROWS_IN_A_FILE}
        if beaten or len(small) > 1:
            stale = sorted(str(name) for name in small | beaten)
            table = self._read(stale)
            best = _best_rows(table.select(_STANDING).to_pandas())
            wanted = best.index[best["cell_id"].isin(kept.loc[kept["__filename"].isin(stale), "cell_id"])]
            self._replace("cells", stale, table.take(pa.array(sorted(wanted))))
        # An attempt is in two files where a merge died before it removed the old ones.
        return frame.groupby(_ATTEMPT.names)["stands"].any().reset_index()

    def _merge_curves_part(self, attempts: pd.DataFrame) -> None:
        files = self._files("curves")
        small = [name for name in files if self._rows(name) < ROWS_IN_A_FILE]
        if len(small) > 1:
            table = self._read(small)
            steps = table.select([*_ATTEMPT.names, "step"]).to_pandas()
            keys = steps.merge(attempts, how="left", on=_ATTEMPT.names)
            standing = attempts[attempts["stands"]].set_index("cell_id")["run_started_at"]
            # A curve without a row is of a cell that is being written just now, or whose worker died in between. It
            # is the latter where the cell was done again since.
            left_behind = keys["stands"].isna() & (keys["run_started_at"] < keys["cell_id"].map(standing))
            current = table.filter(pa.array(keys["stands"].ne(False) & ~left_behind & ~steps.duplicated()))
            self._replace("curves", small, current.sort_by([("cell_id", "ascending"), ("step", "ascending")]))

    def _drop_checkpoints_left_behind(self) -> None:
        """Those of cells whose worker ended between the row and the end of its checkpoint."""
        selector = fs.FileSelector(f"{self._root}/checkpoints", allow_not_found=True)
        kept = [info.base_name for info in self._fs.get_file_info(selector) if info.type == fs.FileType.File]
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
                {(row["cell_id"], row["run_started_at"]) for row in piece.select(_ATTEMPT.names).to_pylist()}
            )
            digest = hashlib.sha256(repr(attempts).encode()).hexdigest()[:16]
            name = f"{len(attempts)}-cells-{digest}.parquet"
            self._write(part, name, piece)
            old = [path for path in old if not path.endswith(f"/{name}")]
        for path in old:
            with contextlib.suppress(FileNotFoundError):  # another process merged the same files
                self._fs.delete_file(path)

    def _write(self, part: str, name: str, table: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        if table.num_rows > 1:
            pq.write_table(table, sink, compression="zstd")
        else:  # a file that soon becomes part of another: dictionaries and statistics would cost half of its time
            pq.write_table(table, sink, compression="none", use_dictionary=False, write_statistics=False)
        self._put(f"{self._root}/{part}/{name}", sink.getvalue())

    def _put(self, path: str, content: bytes | pa.Buffer) -> None:
        if not self._is_local:
            with self._fs.open_output_stream(path) as stream:  # object storage shows an object once it is whole
                stream.write(content)
            return
        folder, name = os.path.split(path)
        # Readers pass over names that begin with a dot.
        temporary = f"{folder}/.{name}.{uuid.uuid4().hex[:8]}"
        try:
            os.makedirs(folder, exist_ok=True)
            with open(temporary, "wb") as stream:
                stream.write(content)
            os.replace(temporary, path)
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error

    # Reading

    def exists(self) -> bool:
        """Whether a sweep ever wrote here."""
        return bool(self._files("cells")) or self.sweep_text() is not None

    def sweep_text(self) -> str | None:
        """The resolved sweep file, as run last; None in a store without one."""
        content = self._get(f"{self._root}/sweep.yaml")
        return None if content is None else content.decode()

    def read_artifact(self, cell_id: str, name: str) -> bytes | None:
        """A file that `write_artifact` kept; None where there is none."""
        return self._get(f"{self._root}/artifacts/{cell_id}/{name}")

    def read_checkpoint(self, cell_id: str) -> bytes | None:
        """What `write_checkpoint` kept last; None where there is none."""
        return self._get(self._checkpoint(cell_id))

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
        table = self.table(columns, where)
        if table is None:
            return pd.DataFrame(columns=list(columns or _STANDING))
        frame: pd.DataFrame = table.to_pandas(
            types_mapper=lambda kind: pd.ArrowDtype(kind) if pa.types.is_list(kind) else None,
            categories=[name for name in categories if name in table.column_names],
            self_destruct=True,
        )
        del table
        pa.default_memory_pool().release_unused()
        return frame

    def table(self, columns: Sequence[str] | None = None, where: pc.Expression | None = None) -> pa.Table | None:
        """As `load`, in Arrow's form; None where there is no file. Rows that `where` leaves out are not read."""
        names = None if columns is None else list(dict.fromkeys([*columns, *_STANDING]))
        table = self._load("cells", lambda files: self._read_standing(files, names, where))
        if table is None:
            return None
        order = pc.sort_indices(table["cell_id"])
        names, arrays = list(columns or table.column_names), table.select(columns or table.column_names).columns
        del table
        for place, array in enumerate(arrays):  # one by one, so that no second copy of everything is held
            arrays[place] = array.combine_chunks().take(order)
        ordered = pa.table(arrays, names)
        del arrays
        pa.default_memory_pool().release_unused()  # as much again as the table holds
        return ordered

    def _read_standing(
        self, files: Sequence[str], columns: Sequence[str] | None, where: pc.Expression | None
    ) -> pa.Table:
        table = self._read(files, columns, where)
        if not {*_STANDING} <= {*table.column_names}:
            raise StoreError(self._why_unreadable(files))
        return self._standing(table if where is None else self._read(files, _STANDING), table)

    def _standing(self, every: pa.Table, table: pa.Table) -> pa.Table:
        """The rows of `table` that stand among `every` row; a filter must not hide them from those they beat."""
        if pc.count_distinct(every["cell_id"]).as_py() == every.num_rows:
            return table
        best = _best_rows(every.to_pandas()).set_index(_STANDING).index
        attempts = table.select(_STANDING).to_pandas()
        stands = attempts.set_index(_STANDING).index.isin(best) & ~attempts.duplicated().to_numpy()
        return table.filter(pa.array(stands))

    def load_curves(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The logged steps of the rows that `load` gives, sorted by cell and step."""
        table = self._load("curves", self._read)
        cells = self._load("cells", lambda files: self._read(files, _STANDING))
        if table is None or cells is None:
            return pd.DataFrame(columns=list(columns or ["cell_id", "step"]))
        best = _best_rows(cells.to_pandas())[_ATTEMPT.names]
        frame: pd.DataFrame = table.to_pandas().merge(best, on=_ATTEMPT.names)
        frame = frame.drop_duplicates(["cell_id", "step"]).sort_values(["cell_id", "step"], ignore_index=True)
        return frame if columns is None else frame[list(columns)]

    def statuses(self) -> dict[str, str]:
        """Status of every cell that is present."""
        frame = self.load(columns=["cell_id", "status"])
        return dict(zip(frame["cell_id"], frame["status"], strict=True))

    def written_by_run(self, run_id: str, cell_ids: Iterable[str]) -> dict[str, str]:
        """Statuses of those cells whose single file was written in the given run: a restarted worker skips them."""
        names = [f"{self._root}/cells/{_single_name(cell_id, run_id)}" for cell_id in cell_ids]
        present = [info.path for info in self._fs.get_file_info(names) if info.type == fs.FileType.File]
        if not present:
            return {}
        table = self._read(present, ["cell_id", "status"])
        return dict(zip(table["cell_id"].to_pylist(), table["status"].to_pylist(), strict=True))

    def _checkpoint(self, cell_id: str) -> str:
        return f"{self._root}/checkpoints/{cell_id}"

    def _get(self, path: str) -> bytes | None:
        try:
            with self._fs.open_input_stream(path) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None

    def _load(self, part: str, read: Callable[[Sequence[str]], _Found]) -> _Found | None:
        for _ in range(5):
            files = self._files(part)
            if not files:
                return None
            try:
                return read(files)
            except FileNotFoundError:
                time.sleep(0.1)  # merged by another process between listing and reading
        raise StoreError(f"{self.location}/{part}: its files keep changing; try again when no sweep runs on it")

    def _files(self, part: str) -> list[str]:
        selector = fs.FileSelector(f"{self._root}/{part}", allow_not_found=True)
        return sorted(
            info.path
            for info in self._fs.get_file_info(selector)
            if info.type == fs.FileType.File and info.extension == "parquet" and not info.base_name.startswith(".")
        )

    def _rows(self, path: str) -> int:
        with self._fs.open_input_file(path) as file:
            return int(pq.read_metadata(file).num_rows)

    def _read(
        self, files: Sequence[str], columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table:
        """The files as one table with the columns of all of them; a column that a file lacks is empty there."""
        try:
            factory = ds.FileSystemDatasetFactory(self._fs, list(files), ds.ParquetFileFormat())
            schema = factory.inspect()
            table = factory.finish(schema).to_table(columns=columns, filter=where)
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            why = self._why_unreadable(files) or f"{self.location} cannot be read: {_first_line(error)}"
            raise StoreError(why) from error
        strange = [field for field in schema if field.name in _known_kinds() and _is_strange(field)]
        foreign = "cell_id" in table.column_names and table["cell_id"].null_count
        if strange or foreign:
            raise StoreError(self._why_unreadable(files))
        return table

    def _why_unreadable(self, files: Sequence[str]) -> str:
        """What is wrong with the first file that is no Parquet file or not of a store; empty where all are in order."""
        for path in files:
            try:
                with self._fs.open_input_file(path) as file:
                    schema = pq.read_schema(file)
            except (OSError, pa.ArrowInvalid) as error:
                return f"{path} cannot be read: {_first_line(error)}"
            needed = _STANDING if path.startswith(f"{self._root}/cells/") else _ATTEMPT.names
            if lacking := [name for name in needed if name not in schema.names]:
                return f"{path} is no file of a store: it has no column {', '.join(lacking)}"
            for field in schema:
                if _is_strange(field):
                    wanted = _known_kinds()[field.name]
                    return f"{path}: the column {field.name} holds {field.type}, and should hold {wanted}"
        return ""


@cache
def _known_kinds() -> Mapping[str, pa.DataType]:
    """Types by column, of all experiments."""
    schemas = [of(experiment) for experiment in EXPERIMENTS.values() for of in (cell_schema, curve_schema)]
    return {field.name: field.type for schema in schemas for field in schema}


def _is_strange(field: pa.Field) -> bool:
    """Whether a column holds something that cannot be told as what it should hold."""
    known = _known_kinds().get(field.name, field.type)
    tests = (pa.types.is_list, pa.types.is_timestamp, lambda kind: pa.types.is_string(kind) or
             pa.types.is_large_string(kind))  # fmt: skip
    return not pa.types.is_null(field.type) and any(test(known) != test(field.type) for test in tests)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _single_name(cell_id: str, run_id: str) -> str:
    # With the run, so that no run ever overwrites, or removes after merging, what another one wrote.
    return f"{cell_id}-{run_id[:8]}.parquet"


def _cell_table(experiment: Experiment, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    schema = cell_schema(experiment, searched=SUGGESTION in rows[0])
    return pa.Table.from_pylist([dict(row) for row in rows], schema)


def _curve_table(
    experiment: Experiment, written: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]
) -> pa.Table:
    steps = [{**{key: row[key] for key in _ATTEMPT.names}, **step} for row, curve in written for step in curve]
    return pa.Table.from_pylist(steps, curve_schema(experiment))


def _best_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The row of each cell that stands, by the module's rule; keeps the index of `frame`."""
    if not frame["cell_id"].duplicated().any():
        return frame
    rank = frame["status"].map({status: place for place, status in enumerate(FINISHED)}).fillna(len(FINISHED))
    order = frame.assign(_rank=rank).sort_values(["_rank", "run_started_at"], ascending=[True, False], kind="stable")
    return frame.loc[order.drop_duplicates("cell_id").index.sort_values()]
