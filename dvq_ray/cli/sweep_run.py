"""One run of a sweep, from its checked file to its exit code: what the command line and `dvq_ray.run_sweep` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console

from dvq_ray.cli.grids import print_plan, run_plan
from dvq_ray.cli.terminal import complain
from dvq_ray.declarations.settings import Settings
from dvq_ray.execution.budget import Budget
from dvq_ray.execution.executor import Executor, ResourcesError
from dvq_ray.execution.in_process import InProcess
from dvq_ray.execution.machine import usable_cores, usable_gpus
from dvq_ray.execution.progress import Progress
from dvq_ray.execution.tune.ray_address import cluster_address
from dvq_ray.execution.tune.under_tune import UnderTune
from dvq_ray.problems import SweepFileError
from dvq_ray.store import Store, StoreError
from dvq_ray.sweep.plan import Plan, make_plan, missing_kept
from dvq_ray.sweep.search import Search, SearchError
from dvq_ray.sweep.spec import SweepSpec


class DataError(RuntimeError):
    """Data sets that are not there, or not what they are said to be."""


REFUSALS = (SweepFileError, SearchError, DataError, StoreError, ResourcesError)
"""Errors that say why a sweep cannot be run. The text of each is for its user."""


def _note(text: str) -> None:
    complain(f"note: {text}")


class SweepRun:
    """A sweep with its store, its budget and what it runs on.

    `results` is the folder or URI that holds the stores; `time_budget` is in seconds; `note` is
    called with anything worth telling the user that does not stop the sweep. Making one starts nothing.
    """

    def __init__(
        self,
        spec: SweepSpec,
        results: str,
        *,
        in_process: bool,
        address: str | None,
        max_concurrent: int | None,
        retry_failed: bool,
        time_budget: float | None,
        gpu_hours: float | None,
        note: Callable[[str], None] = _note,
    ) -> None:
        self.spec = spec
        self.store = Store.under(results, spec.name)
        self._budget = Budget(seconds=time_budget, gpu_hours=gpu_hours)
        self._executor: Executor = InProcess() if in_process else UnderTune(address, max_concurrent)
        self._at_once = 1 if in_process else max_concurrent
        self._retry_failed = retry_failed
        self._note = note
        # A cluster computes elsewhere: its data sets need not be on this machine, nor its processors like this one.
        self._is_local = in_process or cluster_address(address) is None

    def prepare_store(self) -> list[str]:
        """Makes sure that the store can be written. Returns a line for each file that was set aside as unreadable."""
        self.store.check_writable()
        found = self.store.set_aside_unreadable()
        return [f"{aside.path} {aside.reason}; set aside as {aside.moved_to}" for aside in found]

    def run(self, console: Console, progress_type: Callable[..., Progress] = Progress) -> int:
        """Runs what is missing and prints what came of it. Returns the exit code of the command line."""
        if search := self.spec.search:
            from dvq_ray.cli import search as drive  # Optuna takes a second to import

            _refuse(self._problems_of_search(search))
            self._note_missing_kept()
            return drive.run_search(
                console, self.spec, search, self.store, self._executor, self._budget,
                retry_failed=self._retry_failed, progress_type=progress_type,
            )  # fmt: skip
        plan = self._plan()
        _refuse(self._problems_of_plan(plan))
        return run_plan(console, plan, self.store, self._executor, self._budget, progress_type)

    def preview(self, console: Console) -> int:
        """Prints what would run and why it would not start. Returns the exit code, 0 where that depends on its cells.

        Starts nothing and writes nothing. So it does not notice a full disk, or a cluster that is too small.
        """
        slots = self._at_once or _local_slots(self.spec)
        if search := self.spec.search:
            from dvq_ray.cli import search as drive  # Optuna takes a second to import

            problems = self._problems_of_search(search)
            self._note_missing_kept()
            ahead = drive.print_plan(console, self.spec, search, self.store, slots, retry_failed=self._retry_failed)
            left, failed = ahead.left, ahead.failed
        else:
            plan = self._plan()
            problems = self._problems_of_plan(plan)
            print_plan(console, plan, self.store, slots)
            left, failed = len(plan.to_run), plan.counts().failed
        if refusals := [*self._problems_of_store(), *problems, *(self._problems_of_resources() if left else ())]:
            complain("\n".join([*refusals, "a run would not start"]))
            return 2
        return 1 if failed and not left else 0

    def _plan(self) -> Plan:
        return make_plan(self.spec, self.store, retry_failed=self._retry_failed)

    def _note_missing_kept(self) -> None:
        """Says which files are missing that cells should have kept: a search computes no cell again for them."""
        if missing := missing_kept(self.spec, self.store):
            kept = ", ".join(sorted(self.spec.keep))
            self._note(
                f"{len(missing):,} cells are done, but have not kept all of: {kept}. A search does not compute "
                "them again; name other --results to have all of them"
            )

    def _problems_of_plan(self, plan: Plan) -> list[str]:
        return self._problems_of_cells([cell.point.settings for cell in plan.to_run])

    def _problems_of_search(self, search: Search) -> list[str]:
        from dvq_ray.cli import search as drive

        return [*self._problems_of_cells([*drive.examples(search)]), *drive.problems(search)]

    def _problems_of_cells(self, settings: Sequence[Settings]) -> list[str]:
        """What this machine does not have for cells of these settings: instructions, data sets on its disks."""
        if not self._is_local:
            return []
        device = self.spec.surroundings().device
        problems = [*dict.fromkeys(missing for each in settings if (missing := each.missing_here(device)))]
        if data_sets := self.spec.experiment.data_sets:
            problems += data_sets.problems(settings, self.spec.data, self._note)
        return problems

    def _problems_of_store(self) -> list[str]:
        try:
            self.store.check_place()
        except StoreError as error:
            return [str(error)]
        return []

    def _problems_of_resources(self) -> list[str]:
        try:
            self._executor.check(self.spec.resources)
        except ResourcesError as error:
            return [str(error)]
        return []


def _refuse(problems: Sequence[str]) -> None:
    """Raises `DataError` with all problems, where there are any."""
    if problems:
        raise DataError("\n".join([*problems, "nothing was started and nothing written"]))


def _local_slots(spec: SweepSpec) -> int:
    slots = usable_cores() / spec.resources.cpu
    if spec.resources.gpu:
        slots = min(slots, usable_gpus() / spec.resources.gpu)
    return max(int(slots), 1)
