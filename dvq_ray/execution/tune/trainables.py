"""The Tune trainable: the only place where the core meets Ray's workers.

Ray Tune carries packs of cells; it does not define identity, seeds, grids or resuming.
"""

from __future__ import annotations

import base64
import json
import sys
import time
import zlib
from collections.abc import Generator
from typing import Any

import ray
from ray import tune

from dvq_ray.execution.pack import Advance, run_pack
from dvq_ray.execution.tune.kills_on_nodes import OOM_KILLS
from dvq_ray.execution.tune.oom_kills import oom_kills
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.process.interruption import Interruption
from dvq_ray.store import Store
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.cells import Pack

STEP_SECONDS, STEP_SECONDS_PER_TRIAL = 1.0, 0.03
"""A step ends with the first cell that is done after the former: often enough to watch. With many trials at once it is
the latter times their number: the driver takes some 2 ms for each report, and trials wait for it."""


BEST, LAST = "best", "last"
"""Keys of what a step reports of the experiment's main metric, where a cell measured it: a value and its cell."""
LOGGED = "logged"
"""The key of the curve so far that a step reports of a cell that may be stopped early."""


@ray.remote(num_cpus=0)
class Gate:
    """Before each cell a worker asks whether it may begin; the driver shuts the gate when a budget is spent."""

    def __init__(self) -> None:
        self._open = True

    def shut(self) -> None:
        """No further cell begins."""
        self._open = False

    def is_open(self) -> bool:
        """Whether the next cell may begin."""
        return self._open


class PackTrainable(tune.Trainable):
    """Runs the cells of one pack and writes their rows as they are done.

    A Tune step is about a second of cells, or longer where many trials report. Rows and checkpoints of cells go from
    the worker to the store; only counts go to the driver. Tune's own checkpoints are not used: the store is the state,
    and a pack that comes back after its worker died resumes after the last row written.
    """

    def setup(  # type: ignore[override]
        self, config: dict[str, Any], context: dict[str, Any]
    ) -> None:
        """Takes what all packs share."""
        self._store = Store(context["store"])
        self._run = Run(**context["run"])
        self._surroundings = Surroundings(**context["surroundings"])
        self._gate = context["gate"]
        self._step_seconds = max(STEP_SECONDS, STEP_SECONDS_PER_TRIAL * context["at_once"])
        self._advances: Generator[Advance] | None = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begins another pack in the same worker."""
        self.cleanup()
        self._pack = Pack.from_plain(json.loads(zlib.decompress(base64.b85decode(new_config["pack"]))))
        self._rows_told = 0
        self.config = {}  # each result would carry it
        self._between_cells = True
        self._advances = run_pack(self._pack, self._store, self._run, self._surroundings)
        return True

    def step(self) -> dict[str, Any]:
        """Runs cells for about a second, or longer among many trials, and reports how many ended.

        A step also ends where a curve that is watched grows.
        """
        with Interruption() as interruption:
            interruption.listen()
            report = self._report(interruption)
        if interruption.asked:  # this process is ended, by Slurm for example, and not the sweep
            self.cleanup()
            sys.exit("a signal ended the worker")
        return report

    def _report(self, interruption: Interruption) -> dict[str, Any]:
        report: dict[str, Any] = {"cells_done": 0, "cells_failed": 0, "seconds_done": 0.0, "done": False}
        report[OOM_KILLS] = oom_kills()
        assert self._advances is not None
        until = time.monotonic() + self._step_seconds
        while time.monotonic() < until and not interruption.asked:
            if self._between_cells and self._gate is not None and not ray.get(self._gate.is_open.remote()):
                self.cleanup()  # which commits what was finished
                report["done"] = True
                break
            advance = next(self._advances, None)
            if advance is None:
                report["done"] = report["pack_done"] = True
                break
            self._between_cells = advance.status is not None
            report["seconds_done"] += advance.nominal_seconds
            report["cells_done"] += advance.done
            report["cells_failed"] += advance.failed
            for measured in advance.values:
                report[BEST] = min(measured, report.get(BEST, measured))
                report[LAST] = measured
            if self._ends_step(advance, report):
                break
        return report

    def _ends_step(self, advance: Advance, report: dict[str, Any]) -> bool:
        """Whether the step ends with this; adds the curve of a cell that may be stopped early."""
        suggested = self._pack.suggested
        if suggested is None or suggested.watched is None or len(advance.logged) <= self._rows_told:
            return False
        self._rows_told = len(advance.logged)
        report[LOGGED] = list(advance.logged)
        return True

    def cleanup(self) -> None:
        """Stops the cell in hand, which keeps a checkpoint where it takes long."""
        if self._advances is not None:
            self._advances.close()


def carrying(trainable: type[PackTrainable], context: dict[str, Any]) -> type[PackTrainable]:
    """The trainable with what all of its workers share, as part of its code.

    Tune's own way puts this into Ray's object store, from where Ray would try to recover it when the raylet is ended,
    and end the driver with exit code 1 because it cannot.
    """

    class Carrying(trainable):  # type: ignore[misc, valid-type]
        def setup(self, config: dict[str, Any]) -> None:
            super().setup(config, context=context)

    return Carrying
