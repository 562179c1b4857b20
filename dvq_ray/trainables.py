"""The Tune trainable: the only place where the core meets Ray's workers.

Ray Tune carries packs of cells; it does not define identity, seeds, grids or resuming.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from ray import tune

from dvq_ray.cells import Pack
from dvq_ray.pack import run_pack
from dvq_ray.provenance import Run
from dvq_ray.store import Store
from dvq_ray.surroundings import Surroundings

STEP_SECONDS = 1.0
"""A step ends with the first cell that is done after this: often enough to watch, rare enough to cost nothing."""


class PackTrainable(tune.Trainable):
    """Runs the cells of one pack and writes their rows as they are done.

    A Tune step is about a second of cells. Rows and checkpoints of cells go from the worker to the store; only counts
    go to the driver. Tune's own checkpoints are not used: the store is the state, and a pack that comes back after its
    worker died goes on behind what it wrote.
    """

    def setup(  # type: ignore[override]
        self, config: dict[str, Any], packs: Sequence[str], context: dict[str, Any]
    ) -> None:
        """Takes what all packs share. `packs` are packs as JSON; `config["pack"]` says which is this trial's."""
        self._packs = packs
        self._store = Store(context["store"])
        self._run = Run(**context["run"])
        self._surroundings = Surroundings(**context["surroundings"])
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes up another pack in the same worker."""
        pack = Pack.from_plain(json.loads(self._packs[new_config["pack"]]))
        self._advances = run_pack(pack, self._store, self._run, self._surroundings)
        return True

    def step(self) -> dict[str, Any]:
        """Runs cells for about a second, and reports what was done and how many came to an end."""
        report: dict[str, Any] = {"cells_done": 0, "cells_failed": 0, "seconds_done": 0.0, "done": False}
        until = time.monotonic() + STEP_SECONDS
        while time.monotonic() < until:
            advance = next(self._advances, None)
            if advance is None:
                report["done"] = True
                break
            report["seconds_done"] += advance.nominal_seconds
            report["cells_done"] += advance.done
            report["cells_failed"] += advance.failed
        return report

    def cleanup(self) -> None:
        """Stops the cell in hand, which keeps a checkpoint where it takes long."""
        self._advances.close()
