"""How many processes the kernel has killed because memory ran out. It says so nowhere else to those who are left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def oom_kills(root: Path = Path("/")) -> int | None:
    """The count of this process's control group, or of the whole machine; None where neither can be read."""
    for path in _counters(root):
        with suppress(OSError, ValueError):
            for line in path.read_text().splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
    return None


def _counters(root: Path) -> Iterator[Path]:
    groups = root / "sys" / "fs" / "cgroup"
    lines = []
    with suppress(OSError):
        lines = (root / "proc" / "self" / "cgroup").read_text().splitlines()
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            yield groups / group.lstrip("/") / "memory.events"
        elif "memory" in controllers.split(","):
            yield groups / "memory" / group.lstrip("/") / "memory.oom_control"
            yield groups / "memory" / "memory.oom_control"  # a container sees its own group as the top one
    yield root / "proc" / "vmstat"
