"""Packs on their way to Tune: a searcher that hands them out, and early stopping."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from dvq_ray.execution.executor import PackSource
from dvq_ray.execution.tune.ended_trials import ForgetsEnded
from dvq_ray.execution.tune.trainables import LOGGED
from dvq_ray.sweep.cells import Pack


class PackSearcher(Searcher):
    """Hands out the packs of a source, up to `room()` at a time."""

    def __init__(self, source: PackSource, room: Callable[[], int | None], ending: Callable[[], bool]) -> None:
        super().__init__()
        self._source = source
        self._room = room
        self._ending = ending
        self.packs: dict[str, Pack] = {}
        """Packs by trial, of those that have not ended."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The configuration of a trial; None where there is none just now."""
        if self._source.finished or self._ending():
            return Searcher.FINISHED
        room = self._room()
        if (room is not None and len(self.packs) >= room) or (pack := self._source.next()) is None:
            return None
        self.packs[trial_id] = pack
        return {"pack": as_text(pack)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Does nothing: `Watch` sees this too, and knows more."""

    def set_search_properties(self, *_: Any, **__: Any) -> bool:
        """Accepts anything: nothing needs to be set."""
        return True

    def save(self, checkpoint_path: str) -> None:
        """Saves nothing: the state is in the store, and in a search's journal."""

    def restore(self, checkpoint_path: str) -> None:
        """Restores nothing, as `save` saves nothing."""

    def __deepcopy__(self, memo: Any) -> PackSearcher:
        return self

    def __reduce__(self) -> Any:  # Tune pickles what it is given, but never comes back to it
        return object, ()


def as_text(pack: Pack) -> str:
    """A pack in a trial's configuration. Compressed, because Tune copies configurations."""
    return base64.b85encode(zlib.compress(json.dumps(pack.to_plain()).encode())).decode()


class StopsEarly(ForgetsEnded):
    """Runs trials in their order, and stops those early of which their source says so."""

    def __init__(self, source: PackSource, packs: Mapping[str, Pack]) -> None:
        super().__init__()
        self._source = source
        self._packs = packs

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Whether the trial continues."""
        pack, logged = self._packs.get(trial.trial_id), result.get(LOGGED)
        is_over = pack is not None and logged is not None and self._source.stops(pack, logged)
        return TrialScheduler.STOP if is_over else TrialScheduler.CONTINUE
