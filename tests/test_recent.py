from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from dvq_ray.process.recent import Recent


def _counted(made: Iterator[int], size: int) -> Callable[[], bytes]:
    return lambda: bytes([next(made)]) * size


def test_what_was_made_last_is_made_once() -> None:
    recent, made = Recent[bytes](100, len), itertools.count()
    first = recent.get("a", _counted(made, 40))
    assert recent.get("a", _counted(made, 40)) is first
    assert recent.get("b", _counted(made, 40)) != first
    assert next(made) == 2


def test_what_was_used_longest_ago_goes_first_and_never_more_is_kept_than_is_allowed() -> None:
    recent, made = Recent[bytes](100, len), itertools.count()
    for key in ("a", "b", "a", "c"):  # the third takes the place of b
        recent.get(key, _counted(made, 50))
    assert recent.get("a", _counted(made, 50)) == bytes(50)
    assert recent.get("b", _counted(made, 50))[0] == 3


def test_what_is_too_large_to_keep_drives_nothing_out() -> None:
    recent, made = Recent[bytes](100, len), itertools.count()
    recent.get("a", _counted(made, 60))
    assert [recent.get("large", _counted(made, 101))[0] for _ in range(2)] == [1, 2]
    assert recent.get("a", _counted(made, 60))[0] == 0
