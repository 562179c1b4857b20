"""How much memory this process takes for something. Only Linux says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_RESET = Path("/proc/self/clear_refs")
ON_LINUX = pytest.mark.skipif(not _RESET.exists(), reason="only Linux says how much memory it was")


@contextmanager
def taking_less_than(kilobytes: int) -> Iterator[None]:
    """Fails where so much more memory is held at any time in between."""
    _RESET.write_text("5")  # the most that was ever held is then what is held now
    before = _most_kilobytes()
    yield
    assert _most_kilobytes() - before < kilobytes


def _most_kilobytes() -> int:
    """The most memory that this process has held."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
