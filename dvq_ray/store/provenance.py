"""Where a row came from: the run, the code, the versions and the machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import subprocess
import sys
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

_PACKAGES = ("dvq_ray", "numpy", "numba", "scikit-learn", "torch", "pyarrow", "ray")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One start of the command line, as the driver knows it. Travels to the workers."""

    run_id: str
    sweep: str
    commit: str

    @staticmethod
    def start(sweep: str) -> Run:
        """A new run of the named sweep."""
        return Run(run_id=uuid.uuid4().hex, sweep=sweep, commit=_commit())

    def to_plain(self) -> dict[str, str]:
        """Gives plain data for a Tune configuration."""
        return asdict(self)


def _commit() -> str:
    """Commit of the code that runs, `-dirty` where files differ from it; a digest of it where there is no checkout.

    A job on a cluster brings its code without the checkout, and so does an installed package.
    """
    here = Path(__file__).resolve().parents[2]
    if (here / ".git").exists():
        git = ["git", "-C", str(here)]
        try:
            head = subprocess.run(
                [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
            ).stdout.strip()
            changed = subprocess.run(
                [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True
            )
            return head + ("-dirty" if changed.stdout.strip() else "")
        except (OSError, subprocess.CalledProcessError):
            pass
    return f"sources-{digest_of_sources(here / 'dvq_ray')}"


def digest_of_sources(package: Path) -> str:
    """First 16 hex digits of the SHA-256 of a package's modules, by which the commit that they are of can be found.

    Those that a checkout has beside the package, and a wheel inside of it, do not count.
    """
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        if path.relative_to(package).parts[0] in ("analysis", "examples"):
            continue
        digest.update(f"{path.relative_to(package).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def versions() -> dict[str, str]:
    """Installed versions of what a result can depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@cache
def device_name(device: str) -> str:
    """The processor's or the GPU's own name, or what else is known of it: a row must not fail for want of a name."""
    if device.startswith("cuda"):
        with suppress(Exception):  # the GPU may be what failed
            import torch

            return str(torch.cuda.get_device_name(device))
        return device
    if sys.platform == "linux":
        with suppress(OSError):
            for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


MACHINE_COLUMNS = ("run_versions", "run_host", "run_device")
"""Provenance columns that only the machine that computes can fill in."""


def machine_columns(device: str, providers: Mapping[str, str]) -> dict[str, str]:
    """The values of `MACHINE_COLUMNS` on this machine; `providers` has versions of what a sweep brought, by name."""
    return {
        "run_versions": json.dumps({**versions(), **providers}, sort_keys=True),
        "run_host": platform.node(),
        "run_device": device_name(device),
    }
