"""Threads of the linear algebra that numpy, scipy, scikit-learn and faiss bring."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any


def one_blas_thread() -> AbstractContextManager[Any]:
    """Has linear algebra compute with one thread: with several, sums depend on how many there are."""
    found: AbstractContextManager[Any] = _controller(len(sys.modules)).limit(limits=1)
    return found


@lru_cache(maxsize=1)
def _controller(modules: int) -> Any:
    """The libraries that are loaded. Looking for them takes milliseconds, so that is done once after each import."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
