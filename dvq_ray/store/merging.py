"""Merging the files of a store: few and large ones, without rows that better ones have replaced.

Any number of processes may write and merge at once, each may end at any moment, and the power may fail. What holds:

- A file is deleted only once the rows in it that count are in a file that survives a power cut. Names say what files
  hold (an attempt, or a digest of the content), so nobody deletes what somebody else has written since.
- A curve survives a power cut before its row does. A curve without a row is kept while its row may still come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dvq_ray.store.attempts import best_rows
from dvq_ray.store.columns import ATTEMPT, FINISHED, STANDING
from dvq_ray.store.layout import Layout
from dvq_ray.store.reading import FILE, Reader
from dvq_ray.store.storage import Storage

ROWS_IN_A_FILE = 200_000
"""Merged files grow up to this; larger ones are left alone."""


class Merger:
    """Merges `cells/` and `curves/` of a store."""

    def __init__(self, storage: Storage, reader: Reader) -> None:
        self._storage = storage
        self._reader = reader

    def merge(self) -> None:
        """Merges small files. Raises `FileNotFoundError` where another process has just merged one of them."""
        files = self._reader.files("cells")
        rows: pd.DataFrame = self._reader.read(files, [*STANDING, FILE]).to_pandas()
        kept = rows.loc[best_rows(rows).index]
        # Curves first, and then the rows that were there before: these have their curves.
        self._merge_curves(rows, kept)
        self._merge_cells(rows, kept)

    def _merge_cells(self, rows: pd.DataFrame, kept: pd.DataFrame) -> None:
        beaten = {*rows.loc[rows.index.difference(kept.index), FILE]}
        sizes = {str(path): int(count) for path, count in rows[FILE].value_counts().items()}
        stale = _stale(sizes, beaten)
        if stale:
            table = self._reader.read(stale)
            best = best_rows(table.select(STANDING).to_pandas())
            wanted = best.index[best["cell_id"].isin(kept.loc[kept[FILE].isin(stale), "cell_id"])]
            self.replace("cells", stale, table.take(pa.array(sorted(wanted))))

    def _merge_curves(self, rows: pd.DataFrame, kept: pd.DataFrame) -> None:
        stale = _stale(self._reader.sizes(self._reader.files("curves")))
        if stale:
            table = self._reader.read(stale)
            steps: pd.DataFrame = table.select([*ATTEMPT.names, "step"]).to_pandas()
            began = steps["run_started_at"]
            attempts = pd.MultiIndex.from_frame(steps[ATTEMPT.names])
            stands = attempts.isin(pd.MultiIndex.from_frame(kept[ATTEMPT.names]))
            is_beaten = attempts.isin(pd.MultiIndex.from_frame(rows[ATTEMPT.names])) & ~stands
            # A curve without a row is of a cell that is being written just now, or whose worker died in between. Its
            # row could not stand any more where a later one has the best status that there is.
            best = kept[kept["status"] == FINISHED[0]].set_index("cell_id")["run_started_at"]
            is_left_behind = ~stands & np.asarray(began.array < best.reindex(steps["cell_id"]).array)
            wanted = ~is_beaten & ~is_left_behind & ~steps.duplicated().to_numpy()
            order = [(name, "ascending") for name in (*ATTEMPT.names, "step")]
            self.replace("curves", stale, table.filter(pa.array(wanted)).sort_by(order))

    def replace(self, part: str, old: Sequence[str], table: pa.Table) -> None:
        """Writes rows, and then deletes the files that they are from."""
        written = [self._write(part, piece) for piece in _pieces(table)]
        self._storage.delete({*old} - {*written})  # or another process did, which merged the same files

    def _write(self, part: str, table: pa.Table) -> str:
        attempts = table.group_by(ATTEMPT.names).aggregate([]).num_rows
        content = in_parquet(table)
        digest = hashlib.sha256(content).hexdigest()[:16]
        path = Layout(self._storage.root).merged(part, attempts, digest)
        self._storage.put(path, content)
        return path


def in_parquet(table: pa.Table) -> pa.Buffer:
    """The content of a file."""
    sink = pa.BufferOutputStream()
    if table.num_rows > 1:
        # zstd takes a seventh fewer bytes, and a third more time to read.
        pq.write_table(table, sink, compression="snappy", use_dictionary=_repetitive(table))
    else:  # a file that soon becomes part of another: dictionaries and statistics would cost half of its time
        pq.write_table(table, sink, compression="none", use_dictionary=False, write_statistics=False)
    return sink.getvalue()


def _repetitive(table: pa.Table) -> list[str]:
    """The columns that are held as dictionaries, by their paths: all but ids of which none is there twice.

    A dictionary of those shortens nothing, and makes readers suspect long texts (`parquet_files.py`).
    """
    ids = table["cell_id"] if "cell_id" in table.column_names else None
    is_plain = ids is not None and pc.count_distinct(ids).as_py() == len(ids)
    fields = [field for field in table.schema if not (is_plain and field.name == "cell_id")]
    return [f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name for field in fields]


def _stale(sizes: Mapping[str, int], beaten: Collection[str] = ()) -> list[str]:
    """The files to put together: small ones where there are several, and those that must be written anew."""
    small = {path for path, rows in sizes.items() if rows < ROWS_IN_A_FILE}
    return sorted({*small, *beaten}) if beaten or len(small) > 1 else []


def _pieces(table: pa.Table) -> Iterator[pa.Table]:
    """Parts of about the largest size, each with whole attempts."""
    keys = table.select(ATTEMPT.names).combine_chunks().to_pandas()
    is_first = (keys != keys.shift()).any(axis=1).to_numpy()
    ends = [*np.flatnonzero(is_first)[1:], table.num_rows] if table.num_rows else []
    start = 0
    for place, end in enumerate(ends):
        following = ends[place + 1] if place + 1 < len(ends) else None
        if following is None or following - start > ROWS_IN_A_FILE:
            yield table.slice(start, end - start)
            start = end
