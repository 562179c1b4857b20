"""Packs as Ray Tune trials, on the cores of this machine or on a cluster."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import dvq_ray
from dvq_ray.execution.executor import PackSource, ResourcesError
from dvq_ray.execution.job import Job
from dvq_ray.execution.machine import usable_cores, usable_gpus
from dvq_ray.execution.tune.cluster_watch import ClusterWatch, services_of_cluster
from dvq_ray.execution.tune.end_of_ray import end_processes, end_without_ray, marked
from dvq_ray.execution.tune.ray_address import check_answers, cluster_address
from dvq_ray.execution.tune.ray_folder import given_to_ray, ray_folder, staged_in
from dvq_ray.process.home import ensure_home
from dvq_ray.process.interruption import Interrupted
from dvq_ray.providers import brought, code_of
from dvq_ray.store import StoreError
from dvq_ray.sweep.spec import Resources

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

WAITING_TRIALS = 200
"""Trials of a grid that may wait for room, or more on a large cluster, as is Tune's own rule for grids."""
QUIET_RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # the store is the state; a copy of Tune's own would only grow
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # only some of a search's trials are watched
}
_FAST_TORCH = {"THP_MEM_ALLOC_ENABLE": "1"}
"""Large pages for torch's tensors on a CPU: a training spends a tenth of its time on the first touch of memory."""
_TRAVELS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION", "AWS_REGION")
"""Variables that say where object storage is. None that opens it: credentials belong to the machines of a cluster."""


class UnderTune:
    """A Tune trial for each pack, on this machine's cores or on a cluster.

    `at_once` is the largest number of trials that run side by side; None for as many as there is room for.
    """

    def __init__(self, address: str | None, at_once: int | None = None) -> None:
        self._address = cluster_address(address)
        self._at_once = at_once
        self._folder = Path()
        self._cluster = ClusterWatch((), self._lost)
        self._job: Job | None = None
        """What runs just now."""

    def check(self, resources: Resources) -> None:
        """A cluster has to answer, and this machine to have as much as a trial requests."""
        if self._address:
            check_answers(self._address)
        else:
            _check_fits(resources, {"CPU": usable_cores(), "GPU": usable_gpus() if resources.gpu else 0})

    @contextmanager
    def started(self, resources: Resources) -> Iterator[int]:
        """The given cluster, or one of our own that lives as long as this."""
        # What Ray prints is noise to a user: results go to the store, and errors into rows. These settings must be
        # there before Ray is imported.
        os.environ.update(QUIET_RAY | _FAST_TORCH)
        if self._address:
            check_answers(self._address)
        ensure_home()
        with ray_folder() as self._folder:
            if not self._address and "ray" not in sys.modules:  # Ray reads these once, when it is imported
                # A cluster of our own, for as long as the sweep takes, closed to other users of the machine.
                os.environ.setdefault("RAY_AUTH_MODE", "token")
                os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            import ray

            try:
                self._init()
                if not self._address:
                    _check_fits(resources, ray.cluster_resources())
                logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
                self._cluster = ClusterWatch(services_of_cluster(own=not self._address), self._lost)
                with self._cluster:
                    yield self._slots(resources)
            finally:
                try:
                    ray.shutdown(wait_for_processes=True)
                finally:
                    end_processes(self._folder)

    def _lost(self, why: str) -> NoReturn:
        end_without_ray(why, self._folder, self._job)

    def _init(self) -> None:
        import ray

        # What Ray says about workers that died is in the rows of their cells.
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
        quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        try:
            if self._address:
                ray.init(address=self._address, runtime_env=_travelling(), **quiet)
            else:
                with marked(self._folder), _in_their_own_session():
                    ray.init(
                        address="local",
                        num_cpus=usable_cores(),
                        include_dashboard=False,
                        object_store_memory=100_000_000,
                        _temp_dir=given_to_ray(self._folder),
                        **quiet,
                    )
        except SystemExit as error:  # from a handler of SIGTERM that Ray sets as it starts
            raise Interrupted from error
        except Exception as error:
            where = f"no Ray cluster can be used at {self._address}" if self._address else "Ray does not start here"
            raise ResourcesError(f"{where}: {' '.join(str(error).split())}") from error

    def run(self, source: PackSource, job: Job) -> None:
        """Hands the packs to Tune."""
        gate = self._gate(job)
        while not (source.finished or job.ending):  # the last pack to end can lead to others
            self._tune(source, job, gate)

    def _slots(self, resources: Resources) -> int:
        import ray

        slots = _slots(resources, ray.cluster_resources())
        # A cluster that grows with its work has less now than it will have.
        return self._at_once if self._at_once and (self._address or self._at_once < slots) else slots

    def _gate(self, job: Job) -> Any:
        """What workers ask before each cell; None where nothing can shut it."""
        if not job.budget.limited:
            return None
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from dvq_ray.execution.tune.trainables import Gate

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        gate: Any = Gate
        return gate.options(scheduling_strategy=here).remote()  # it is lost with the driver, and not before

    def _most_waiting(self, source: PackSource) -> int:
        """How many trials may wait for room. Those that wait are what makes a cluster grow."""
        if source.learns:
            return self._at_once if self._address and self._at_once else 1
        import ray

        return max(WAITING_TRIALS, int(1.1 * ray.cluster_resources().get("CPU", 1.0)))

    def _room(self, source: PackSource, job: Job) -> int | None:
        """How many packs may be underway; None where Tune decides."""
        return self._slots(job.resources) if source.learns else self._at_once

    def _tune(self, source: PackSource, job: Job, gate: Any) -> None:
        from ray import tune

        from dvq_ray.execution.tune.ended_trials import NoTrialProgress
        from dvq_ray.execution.tune.lost_workers import trials_take_failures
        from dvq_ray.execution.tune.searcher import PackSearcher, StopsEarly
        from dvq_ray.execution.tune.trainables import PackTrainable, carrying
        from dvq_ray.execution.tune.watch import WORKER_RESTARTS, Watch, stopper

        self._job = job
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(self._most_waiting(source))
        searcher = PackSearcher(source, lambda: self._room(source, job), lambda: job.ending)
        watch = Watch(job, gate, source, searcher.packs)
        watch.begin(self._cluster)
        context = {
            "store": job.store.absolute_location,
            "run": job.run.to_plain(),
            "surroundings": vars(job.surroundings),
            "gate": gate,
            "at_once": self._slots(job.resources),
        }
        tuner = tune.Tuner(
            tune.with_resources(carrying(PackTrainable, context), {"cpu": job.resources.cpu, "gpu": job.resources.gpu}),
            tune_config=tune.TuneConfig(
                num_samples=-1,  # the source says when it is finished
                search_alg=searcher,
                scheduler=StopsEarly(source, searcher.packs),
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=str(self._folder),
                verbose=0,
                callbacks=[watch, NoTrialProgress()],
                stop=stopper(lambda: watch.over),
                failure_config=tune.FailureConfig(max_failures=WORKER_RESTARTS),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False, checkpoint_frequency=0),
            ),
        )
        with staged_in(self._folder), trials_take_failures():
            try:
                tuner.fit()
            except Exception:
                if why := self._cluster.refused():
                    self._lost(why)
                raise
        if watch.store_error:
            raise StoreError(watch.store_error)


def _trial_name(trial: Trial) -> str:
    return f"pack_{trial.trial_id}"


def _travelling() -> dict[str, Any]:
    """What goes with the driver to the workers of a cluster: this package and those of the sweep's own quantizers and
    experiment, so that both run the same code.
    """
    env = {name: value for name, value in os.environ.items() if name in _TRAVELS} | _FAST_TORCH
    travelling = {"env_vars": env, "worker_process_setup_hook": f"{ensure_home.__module__}.{ensure_home.__name__}"}
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:  # a submitted job has brought its own working directory
        return travelling
    code = code_of(brought())
    return {"py_modules": [str(Path(dvq_ray.__file__).parent), *code], **travelling}


@contextmanager
def _in_their_own_session() -> Iterator[None]:
    """Has the processes that Ray starts meanwhile leave this process's group, and its terminal.

    Ctrl-C, a terminal that closes and `timeout` signal the whole group. Without Ray's processes the trainings could not
    keep their checkpoints.
    """
    from ray._private import utils

    ray_utils: Any = utils
    before = ray_utils.set_kill_on_parent_death_linux  # what each process calls between its fork and its program

    def apart() -> None:
        before()
        os.setsid()

    ray_utils.set_kill_on_parent_death_linux = apart
    try:
        yield
    finally:
        ray_utils.set_kill_on_parent_death_linux = before


def _slots(resources: Resources, available: Mapping[str, float]) -> int:
    slots = available.get("CPU", 0.0) / resources.cpu
    if resources.gpu:
        slots = min(slots, available.get("GPU", 0.0) / resources.gpu)
    return max(int(slots), 1)  # a cluster that grows with its work may begin with none


def _check_fits(resources: Resources, available: Mapping[str, float]) -> None:
    for name, wanted in (("CPU", resources.cpu), ("GPU", resources.gpu)):
        if wanted > available.get(name, 0.0):
            have = available.get(name, 0.0)
            raise ResourcesError(f"resources.{name.lower()} is {wanted:g}, and this machine has {have:g} {name}s")
