"""The Parquet set of a sweep: how rows get in without harm, what is present, and reading it.

    <results>/<sweep>/
      sweep.yaml          the resolved sweep file, as run
      cells/*.parquet     a row for every finished cell, failed ones included
      curves/*.parquet    a row for every logged step of a cell
      looks/*.parquet     where repetitions are added until they suffice: a row for each point or pair, and its decision
      checkpoints/        by cell id, of cells that were cut off; gone when the cell is done
      artifacts/          by cell id: images and the like
      tensorboard/        by cell id, where requested: event files, a view of the curves
      drivers/            by run: when its driver was last alive, and how it ended; only `status` looks at them
      set_aside/          files of cells/ and curves/ that could not be read, and damaged ends of search/
      search/             the journal of a search, which Optuna writes

The store is also the state that a sweep resumes from. A file comes into being whole or not at all, and survives a power
cut. It is named after the first attempt at a cell that it holds, or after its content, so that writing one twice leaves
one file.
`pandas.read_parquet("<store>/cells")` needs nothing of this module. The one rule that this module adds: where two rows
bear the same cell id (a failed cell was tried again, two drivers ran at once), a finished row stands before a failed
one, and a later row before an earlier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from dvq_ray.experiment.experiment import Experiment
from dvq_ray.store.columns import FINISHED, LOOK, STOPPED, cell_table, curve_table, first_line, look_table
from dvq_ray.store.layout import Layout
from dvq_ray.store.merging import Merger, in_parquet
from dvq_ray.store.rows import Rows
from dvq_ray.store.setting_aside import SetAside, set_aside_unreadable
from dvq_ray.store.storage import StoreError, below

Written = tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]
"""A row and its curve."""


class Store(Rows):
    """The results of one sweep, in a folder or under a URI that pyarrow knows (`s3://`, `gs://`, `file://`)."""

    def __init__(self, location: str | Path) -> None:
        super().__init__(location)
        self._layout = Layout(self._root)
        self._merger = Merger(self._storage, self._reader)

    @staticmethod
    def under(results: str | Path, name: str) -> Store:
        """The store of that name in a folder, or below a URI, whose query then stays behind the name."""
        return Store(below(results, name))

    def place(self, name: str) -> str:
        """The location of a file or folder in this store, as one names it to a user."""
        return below(self.location, name)

    # Writing

    def write_cell(self, experiment: Experiment, row: Mapping[str, Any], curve: Sequence[Mapping[str, Any]]) -> None:
        """Commits one cell."""
        self.write_cells(experiment, [(row, curve)])

    def write_cells(self, experiment: Experiment, written: Sequence[Written]) -> None:
        """Commits cells in one file of each kind, named after the first.

        The curves come first, so that a row in `cells` is never without its curve.
        """
        rows, curves = cell_table(experiment, [row for row, _ in written]), curve_table(experiment, written)
        for part, table in (("curves", curves), ("cells", rows)):
            if len(table):
                self._storage.put(self._layout.row(part, written[0][0]), in_parquet(table))

    def write_artifact(self, cell_id: str, name: str, content: bytes) -> None:
        """Keeps a file, such as an image, beside a cell's row."""
        self._storage.put(self._layout.artifact(cell_id, name), content)

    def write_tensorboard(self, cell_id: str, name: str, content: bytes) -> None:
        """Keeps a cell's event file, in place of the last one: TensorBoard reads on in the file that it opened."""
        self._storage.overwrite(self._layout.events(cell_id, name), content)

    def write_checkpoint(self, cell_id: str, content: bytes) -> None:
        """Keeps what an unfinished cell can resume from, in place of what it kept before."""
        self._storage.put(self._layout.checkpoint(cell_id), content)

    def reject_checkpoint(self, cell_id: str) -> str:
        """Sets an unreadable checkpoint aside, and says where."""
        aside = self._layout.rejected_checkpoint(cell_id)
        self._storage.move(self._layout.checkpoint(cell_id), aside)
        return aside

    def drop_checkpoint(self, cell_id: str) -> None:
        """Removes the checkpoint of a cell that needs none any more."""
        self._storage.delete([self._layout.checkpoint(cell_id)])

    def write_sweep(self, text: str) -> None:
        """Keeps the resolved sweep file beside its results."""
        self._storage.put(self._layout.sweep, text.encode())

    def write_looks(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keeps what the last looks at repetitions found, in place of what they found before.

        All of it follows from the rows in `cells/`, so that another driver's view may take its place.
        """
        self._storage.put(self._layout.looks, in_parquet(look_table(rows)))

    def write_driver(self, name: str, content: bytes) -> None:
        """Keeps what a driver says of itself, in place of what it said before; a power cut ends the driver too."""
        self._storage.put_unsynced(self._layout.driver(name), content)

    def drop_driver(self, name: str) -> None:
        """Removes what a driver said of itself."""
        self._storage.delete([self._layout.driver(name)])

    def check_place(self) -> None:
        """Raises `StoreError`, which says what to do, where a folder cannot be written or created. Writes nothing."""
        self._storage.check_place()

    def check_writable(self) -> None:
        """Raises `StoreError`, which says what to do, where nothing can be written here. Leaves nothing behind."""
        self._storage.check_writable()

    def set_aside_unreadable(self) -> list[SetAside]:
        """Moves files of `cells/` and `curves/` that are not Parquet, or not of a store, to `set_aside/`.

        The rest can then be read, and what the files held is missing: cells whose row or curve only they had are run
        again. Nothing is removed before its copy is complete. Where footers and keys of all files are in order nothing
        else is looked at. Raises `StoreError` where the storage is out of reach, and where files that are each in order
        do not go together.
        """
        return set_aside_unreadable(self._storage, self._reader)

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
        self._storage.remove_leftovers(*self._layout.written_folders)

    def _drop_checkpoints_left_behind(self) -> None:
        """Removes checkpoints of cells whose worker ended right after it wrote the row."""
        kept = [info.base_name for info in self._storage.files(self._layout.folder("checkpoints"))]
        if kept:
            statuses = self.statuses()
            for cell_id in kept:
                if statuses.get(cell_id) in (
                    *FINISHED,
                    STOPPED,
                ):  # a worker that was stopped early keeps one at its end
                    self.drop_checkpoint(cell_id)

    # Reading

    def exists(self) -> bool:
        """Whether a sweep ever wrote here."""
        return bool(self._reader.files("cells")) or self.sweep_text() is not None

    def files_below(self, folder: str) -> list[fs.FileInfo]:
        """What there is in a folder of the store, such as `checkpoints`, and in the folders in it."""
        return self._storage.files(self._layout.folder(folder), below=True)

    def sweep_text(self) -> str | None:
        """The resolved sweep file, as run last; None in a store without one."""
        content = self._storage.get(self._layout.sweep)
        return None if content is None else content.decode()

    def load_looks(self) -> pd.DataFrame:
        """What `write_looks` kept last; no row where nothing was.

        Where a driver was killed, `cells/` may hold more than this says, and the next run writes it anew. Raises
        `StoreError` where the file cannot be read.
        """
        content = self._storage.get(self._layout.looks)
        try:
            # Without threads, which a process that is forked later would lose.
            table = (
                LOOK.empty_table() if content is None else pq.read_table(pa.BufferReader(content), use_threads=False)
            )
            frame: pd.DataFrame = table.select(LOOK.names).cast(LOOK).to_pandas(use_threads=False)
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise StoreError(f"{self._layout.looks} cannot be read: {first_line(error)}") from error
        return frame

    def read_driver(self, name: str) -> bytes | None:
        """What `write_driver` kept last; None where there is none."""
        return self._storage.get(self._layout.driver(name))

    def read_artifact(self, cell_id: str, name: str) -> bytes | None:
        """A file that `write_artifact` kept; None where there is none."""
        return self._storage.get(self._layout.artifact(cell_id, name))

    def missing_artifacts(self, names: Set[str]) -> set[str]:
        """Cells that are done, and have not kept a file of each of these names."""
        if not names:
            return set()
        there: dict[str, set[str]] = {}
        for info in self.files_below("artifacts"):
            there.setdefault(info.path.split("/")[-2], set()).add(info.base_name)
        done = (cell_id for cell_id, status in self.statuses().items() if status in FINISHED)
        return {cell_id for cell_id in done if not names <= there.get(cell_id, set())}

    def read_checkpoint(self, cell_id: str) -> bytes | None:
        """What `write_checkpoint` kept last; None where there is none."""
        return self._storage.get(self._layout.checkpoint(cell_id))
