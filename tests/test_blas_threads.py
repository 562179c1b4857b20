from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_info

from dvq_ray.process.blas_threads import one_blas_thread


def threads() -> list[int]:
    """[libraries] how many threads each would use."""
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]


def test_linear_algebra_has_one_thread_inside_and_its_own_number_after() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    before = threads()
    for _ in range(2):
        with one_blas_thread():
            assert set(threads()) == {1}
        assert threads() == before


def test_libraries_that_are_imported_later_are_found() -> None:
    with one_blas_thread():
        pass
    import faiss  # noqa: F401

    with one_blas_thread():
        assert set(threads()) == {1}
