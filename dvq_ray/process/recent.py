"""What a process made last, and will soon need again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_Made = TypeVar("_Made")


class Recent(Generic[_Made]):
    """Keeps what was used last, up to `most_bytes` in all, of which `size` tells the bytes of each.

    Whoever takes a value must not change it.
    """

    def __init__(self, most_bytes: int, size: Callable[[_Made], int]) -> None:
        self._most_bytes = most_bytes
        self._size = size
        self._kept: OrderedDict[Hashable, _Made] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], _Made]) -> _Made:
        """The value of that key, which follows from the key alone; made now where it is not kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            if key not in self._kept and self._size(made) <= self._most_bytes:
                self._kept[key] = made
                self._bytes += self._size(made)
                while self._bytes > self._most_bytes:
                    self._bytes -= self._size(self._kept.popitem(last=False)[1])
        return made
