"""What a part has found so far, in a file that is whole at any moment."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

UNFINISHED = 3
"""Exit code of a part whose time is over: the next run goes on with it."""


@dataclass
class Found:
    """What a part has found, in its file."""

    path: Path
    seconds: float = float("inf")
    """That the part may take."""
    values: dict[str, Any] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if self.path.exists():
            self.values = json.loads(self.path.read_text())

    def keep(self, name: str, value: Any) -> None:
        """Adds a value, or replaces it."""
        self.values[name] = value
        replace_file(self.path, json.dumps(self.values, indent=1).encode())

    def once(self, name: str, measure: Callable[[], Any]) -> None:
        """Measures and keeps what is not there yet; ends the part where its time is over."""
        if name not in self.values:
            if self.left() <= 0:
                sys.exit(UNFINISHED)
            self.keep(name, measure())

    def left(self) -> float:
        """Seconds."""
        return self.seconds - (time.monotonic() - self._started)


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    os.replace(temporary, path)
