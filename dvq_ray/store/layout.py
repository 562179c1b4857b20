"""Where the files of a store are. Names that come from elsewhere are checked, so that none leads out of the store."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dvq_ray.store import attempts
from dvq_ray.store.columns import KEYS
from dvq_ray.store.storage import checked_name


@dataclass(frozen=True)
class Layout:
    """The paths in a store. A part is `cells` or `curves`."""

    root: str

    @property
    def sweep(self) -> str:
        """The resolved sweep file."""
        return f"{self.root}/sweep.yaml"

    @property
    def written_folders(self) -> list[str]:
        """The folders in which an end at any moment may leave temporary files."""
        return [self.folder(name) for name in (*KEYS, "looks", "checkpoints", "artifacts", "drivers")]

    def folder(self, name: str) -> str:
        """A folder of the store, such as `checkpoints`."""
        return f"{self.root}/{checked_name(name)}"

    def row(self, part: str, row: Mapping[str, Any]) -> str:
        """A file of rows, or of their curves, of which this is the first."""
        return f"{self.root}/{part}/{attempts.file_name(row)}"

    def merged(self, part: str, count: int, digest: str) -> str:
        """A file of several attempts, named after its content."""
        return f"{self.root}/{part}/{count}-cells-{digest}.parquet"

    def set_aside(self, part: str, path: str, digest: str) -> str:
        """Where a file of a part goes that cannot be read; named after its content, so that one copy remains."""
        return f"{self.root}/set_aside/{part}/{path.rpartition('/')[2]}-{digest}"

    def checkpoint(self, cell_id: str) -> str:
        """The checkpoint of a cell."""
        return f"{self.folder('checkpoints')}/{checked_name(cell_id)}"

    def rejected_checkpoint(self, cell_id: str) -> str:
        """A new place for a checkpoint that cannot be read."""
        return f"{self.folder('checkpoints')}/unreadable/{checked_name(cell_id)}-{uuid.uuid4().hex[:8]}"

    def artifact(self, cell_id: str, name: str) -> str:
        """A file that a cell keeps."""
        return f"{self.folder('artifacts')}/{checked_name(cell_id)}/{checked_name(name)}"

    def events(self, cell_id: str, name: str) -> str:
        """An event file of a cell, for TensorBoard."""
        return f"{self.folder('tensorboard')}/{checked_name(cell_id)}/{name}"

    @property
    def looks(self) -> str:
        """What was decided about repetitions that are added until they suffice."""
        return f"{self.folder('looks')}/looks.parquet"

    def driver(self, name: str) -> str:
        """A driver's sign of life."""
        return f"{self.folder('drivers')}/{checked_name(name)}"
