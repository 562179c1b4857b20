"""Making the items of the rows, on all cores: made, refused or absent, and why."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

from .data.rows import Rows
from .data.selection import Selection
from .items import Item
from .output.products import Product, UnfitError
from .output.sidecar import sidecar

_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Extent:
    """What of the stores is in an item."""

    alternative: str
    """What a figure shows, for those who do not see it."""
    cell_count: int
    """Cells that the grids call for."""
    holes: Sequence[str]
    """Those that are missing or of no use, grouped."""
    hole_count: int
    left_out: Sequence[str]
    """A line for each grid that would be there if it were complete."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """An item and what it came out as."""

    name: str
    item: Item
    extent: Extent
    product: Product
    """With `.json` among its files, which says what it was made from."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """An item that the stores have cells of, and that cannot be made of them."""

    name: str
    item: Item
    reason: str
    details: Sequence[str]
    """Lines beneath the reason: the cells that are lacking, the points that are not fit."""


@dataclass(frozen=True, kw_only=True)
class Absent:
    """An item that the stores hold nothing for."""

    name: str
    item: Item


Attempt = Made | Refused | Absent


def make(name: str, item: Item, rows: Rows, *, allow_missing: bool) -> Attempt:
    """Makes the item. Raises `StoreError` where what lies beside the rows cannot be read."""
    try:
        selection = item.select(rows)
    except UnfitError as error:
        return Refused(name=name, item=item, reason=str(error), details=())
    if selection is None:
        return Absent(name=name, item=item)
    if found := problems(selection, allow_missing=allow_missing):
        return Refused(name=name, item=item, reason=found[0], details=found[1:])
    try:
        product = item.make(selection)
    except UnfitError as error:
        return Refused(name=name, item=item, reason=str(error), details=())
    files = {**product.files, ".json": sidecar(name, product, selection, rows)}
    return Made(name=name, item=item, extent=_extent(item, selection), product=replace(product, files=files))


def _extent(item: Item, selection: Selection) -> Extent:
    return Extent(
        alternative=item.alternative(selection),
        cell_count=selection.cell_count(),
        holes=selection.holes(),
        hole_count=selection.hole_count(),
        left_out=selection.left_out,
    )


def problems(selection: Selection, *, allow_missing: bool) -> list[str]:
    """A headline and its lines; empty where the item can be made."""
    if faults := selection.faults():
        return ["its points are not fit to draw", *faults]
    if allow_missing or not selection.hole_count():
        return []
    common = selection.common()
    where = f" (all: {common})" if common else ""
    count = f"{selection.hole_count():,} of {selection.cell_count():,} cells are missing or failed{where}"
    return [f"{count}; --allow-missing draws it with holes", *selection.holes()]


class Once(Generic[_Result]):
    """Work that is done when it is first asked for, or earlier where there is time; its error is raised when asked."""

    def __init__(self, work: Callable[[], _Result]) -> None:
        self._work, self._future = work, Future[_Result]()

    def do(self) -> None:
        """Does the work, unless it is done."""
        if self._future.done():
            return
        try:
            self._future.set_result(self._work())
        except Exception as error:
            self._future.set_exception(error)

    def future(self) -> Future[_Result]:
        """What came of it, or its error."""
        self.do()
        return self._future

    def result(self) -> _Result:
        """What came of it."""
        return self.future().result()


def make_all(
    items: Mapping[str, Item], rows: Rows, *, allow_missing: bool, meanwhile: Callable[[], None] = lambda: None
) -> Iterator[Attempt]:
    """Makes the items, in order, in as many processes as there are usable cores; this one is among them.

    `meanwhile` is called here while others make items, where there are others. Raises as `make` does, at the item's
    turn.
    """
    jobs = {name: Once(partial(make, name, item, rows, allow_missing=allow_missing)) for name, item in items.items()}
    # Elsewhere it is not safe to fork, and starting anew would read the rows again.
    others = min(len(os.sched_getaffinity(0)) - 1, len(jobs)) if sys.platform == "linux" else 0
    if not others:
        yield from (job.result() for job in jobs.values())
        return
    for trainable in {item.needs.trainable for item in items.values()}:
        rows.points(trainable)  # found once, before the processes part
    gc.freeze()  # so that no process writes into the memory of what they share
    fork = multiprocessing.get_context("fork")  # what is inherited need not be pickled, and is in memory once
    waiting, made = deque(jobs), {name: Future[Attempt]() for name in jobs}
    with ProcessPoolExecutor(others, fork, initializer=_inherit, initargs=(jobs,)) as pool:

        def hand_over() -> None:
            """Gives an idle process the next item; none is given earlier, so that what waits is anyone's to take."""
            with suppress(IndexError):
                name = waiting.popleft()
                try:
                    pool.submit(_made_elsewhere, name).add_done_callback(partial(take_back, name))
                except Exception as error:  # the processes are gone
                    made[name].set_exception(error)

        def take_back(name: str, future: Future[tuple[type[Attempt], dict[str, Any]]]) -> None:
            if future.cancelled():  # nobody waits for it any more
                return
            if error := future.exception():
                made[name].set_exception(error)
            else:
                kind, values = future.result()
                made[name].set_result(kind(item=items[name], **values))
            hand_over()

        try:
            for _ in range(others):
                hand_over()
            meanwhile()
            for name in jobs:
                with suppress(IndexError):
                    while not made[name].done():
                        mine = waiting.pop()  # from the other end
                        made[mine] = jobs[mine].future()
                yield made[name].result()
        finally:
            waiting.clear()
            pool.shutdown(wait=False, cancel_futures=True)
            gc.unfreeze()


_inherited: Mapping[str, Once[Attempt]] = {}
"""In a process that makes items for another."""


def _inherit(jobs: Mapping[str, Once[Attempt]]) -> None:
    global _inherited
    _inherited = jobs


def _made_elsewhere(name: str) -> tuple[type[Attempt], dict[str, Any]]:
    """The attempt without its item, which cannot be pickled."""
    attempt = _inherited[name].result()
    return type(attempt), {field: value for field, value in vars(attempt).items() if field != "item"}
