"""The Parquet set of a sweep: writing rows without loss, merging files, reading."""

from __future__ import annotations

from dvq_ray.store.columns import FINISHED, STOPPED, STUDY, SUGGESTION, Status, cell_schema, curve_schema
from dvq_ray.store.setting_aside import SetAside
from dvq_ray.store.storage import OutOfReachError, StoreError
from dvq_ray.store.store import Store

__all__ = [
    "FINISHED", "STOPPED", "STUDY", "SUGGESTION", "OutOfReachError", "SetAside", "Status", "Store", "StoreError",
    "cell_schema", "curve_schema",
]  # fmt: skip
