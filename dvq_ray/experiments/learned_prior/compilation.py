"""Compiling a training step for a GPU, and what a machine needs for that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import tempfile
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

_Function = TypeVar("_Function", bound=Callable[..., Any])

BACKEND: str | Callable[..., Any] = "inductor"
"""Of `torch.compile`."""
_OLDEST_CAPABILITY = (7, 0)
"""Of a GPU that Triton compiles for."""
_SECONDS = 60
"""That a compiler may take over one line of C."""


def compiled(function: _Function) -> _Function:
    """`function`, compiled for every shape apart; `function` itself, with a warning, where this machine cannot compile.

    Without `dynamic=False` a second shape would be compiled for all sizes, which is slower.
    """
    if problem := obstacle():
        warnings.warn(f"trainings run without compilation, so more slowly: {problem}", RuntimeWarning, stacklevel=2)
        return function
    return cast(_Function, torch.compile(function, dynamic=False, backend=BACKEND))


def forget() -> None:
    """Drops what was compiled: torch compiles a function for eight shapes and no more, then runs it as it is."""
    torch.compiler.reset()


@lru_cache(maxsize=1)
def obstacle() -> str | None:
    """Why a step cannot be compiled here, known before anything starts; None where it can.

    Triton builds a small library in C for each kernel, against Python's headers (`triton/runtime/build.py`).
    """
    problems = []
    if not torch.utils._triton.has_triton_package():
        problems.append("the package triton is not installed")
    if torch.cuda.is_available() and torch.cuda.get_device_capability() < _OLDEST_CAPABILITY:
        problems.append(f"{torch.cuda.get_device_name()} is older than what Triton compiles for")
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        problems.append("no C compiler: neither gcc nor clang is in PATH, and CC is not set")
    elif error := _build_error(compiler):
        problems.append(error)
    return "; ".join(problems) or None


def _build_error(compiler: str) -> str | None:
    """Why `compiler` cannot build what Triton has it build."""
    scheme = sysconfig.get_default_scheme().replace("posix_local", "posix_prefix")
    headers = sysconfig.get_path("include", scheme)
    if not Path(headers, "Python.h").is_file():
        return f"{Path(headers, 'Python.h')} is missing: install Python's headers (such as python3-dev)"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text("#include <Python.h>\nint probe(void) { return PY_MAJOR_VERSION; }\n")
        command = [compiler, str(source), "-shared", "-fPIC", f"-I{headers}", "-o", str(Path(folder, "probe.so"))]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"the C compiler {compiler} does not run: {error}"
    if done.returncode == 0:
        return None
    said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()
    return f"the C compiler {compiler} fails: {said[0]}"
