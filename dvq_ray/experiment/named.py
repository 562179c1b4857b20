"""Code that is named by its path, and imported where it is needed."""

from __future__ import annotations

import importlib
from typing import Any


def named(path: str) -> Any:
    """The object at `module:name`."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
