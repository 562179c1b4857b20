"""`python -m benchmarks.search`: searches of this package against plain Optuna and Ray's OptunaSearch.

Four problems, each a table of real fits that is computed first: every point of a space, three repetitions each. Then
every method searches it with twenty seeds, for as many evaluations as a quarter of its points, and is answered from the
table. An impossible draw costs the others nothing; a repeated one is an evaluation, as it would be for their user.

- `slices`: the space of `sweeps/search_static_slices.yaml`, where 115 of 200 combinations are possible.
- `quantizers`: DVQ and k-means in one space; k-means has no `init_bound`.
- `front`: `slices` again, for two objectives: the loss and the bits. Hypervolume, as a share of the whole table's.
- `ranges`: two ranges, for which a table is interpolated: what CMA-ES takes.

Plain Optuna is used as its manual says: define by run, choices as categories, impossible points by
`trial.set_constraint` (Optuna 5), with the variance of the data as the value of a point that cannot be. Rows "with
ranks" are those of a user who knows better: choices of numbers as their ranks, and as many random suggestions at the
start as here. An impossible point is reported to OptunaSearch as a failure.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import optuna
from optuna.trial import TrialState
from rich.console import Console

from benchmarks.static_prior.tables import say, show
from dvq_ray.execution.grid_packs import GridPacks
from dvq_ray.execution.in_process import InProcess
from dvq_ray.execution.job import Job
from dvq_ray.execution.progress import Progress
from dvq_ray.process.interruption import Interruption
from dvq_ray.search.points import point_of
from dvq_ray.search.suggestions import Suggestions, quiet
from dvq_ray.store import Store
from dvq_ray.store.provenance import Run
from dvq_ray.sweep import samplers
from dvq_ray.sweep.cells import pack_cells
from dvq_ray.sweep.search import Search
from dvq_ray.sweep.space import Choices, Params
from dvq_ray.sweep.spec import SweepSpec, parse_sweep

NEAR = 0.02
"""A point counts as found where its loss is no further above the best of the table."""
BUDGET = 0.25
"""Evaluations, as a share of the points."""
MOST_DRAWS = 20
"""Draws of a method are stopped at so many times its evaluations: one that learns nothing from failures goes on
drawing impossible points."""
REFERENCE_MARGIN = 1.1
"""The reference point of the hypervolume is so many times the worst value of each objective."""
_HEAD = """\
name: benchmark
trainable: static_prior
seeds: 3
fixed: {dimension: 64, factors: 1024, steps: STEPS%s}
search:
  objective: %s
  suggestions: 1
"""
_SPACE = """\
    slices: {choices: [1, 2, 4, 8, 16]}
    codebook_size: {choices: [2, 4, 8, 16, 32, 64, 128, 256]}
    init_bound: {choices: [0.05, 0.3, 1.0, 3.0, 10.0]}
"""
_LOSS, _BOTH = "{test_mse: minimize}", "{test_mse: minimize, bits_per_vector: minimize}"
TEXTS = {
    "slices": _HEAD % (", quantizer: dvq", _LOSS) + "  max_bits: 16\n  space:\n" + _SPACE,
    "quantizers": _HEAD % ("", _LOSS) + "  max_bits: 16\n  space:\n    quantizer: {choices: [dvq, kmeans]}\n" + _SPACE,
    "front": _HEAD % (", quantizer: dvq", _BOTH) + "  max_bits: 16\n  space:\n" + _SPACE,
    "ranges": _HEAD % (", quantizer: dvq, slices: 2, codebook_size: 64", _LOSS)
    + "  space:\n    init_bound: {low: 0.05, high: 10.0, log: true}\n"
    + "    learning_rate: {low: 0.001, high: 1.0, log: true}\n",
}
KNOTS = 12
"""Of the table of `ranges`, along each field."""


@dataclass(kw_only=True)
class Problem:
    """A space, and the value of every point."""

    name: str
    spec: SweepSpec
    search: Search
    values: Callable[[Params], tuple[float, ...]]
    """Of a possible point."""
    points: int
    best: float
    """The least value of the first objective."""
    variance: float
    """Of the data: what is reported for a point that cannot be."""
    front: float = 0.0
    """The hypervolume of all points."""
    reference: tuple[float, ...] = ()

    @property
    def budget(self) -> int:
        """Evaluations of one search."""
        return round(BUDGET * self.points)


@dataclass(kw_only=True)
class Course:
    """How one search went."""

    values: list[tuple[float, ...]] = field(default_factory=list)
    """Of its evaluations, in order."""
    wasted: int = 0
    """Draws that were impossible, or of a point that was evaluated before."""
    seconds: float = 0.0
    """Spent on suggestions."""


Method = Callable[[Problem, int], Course]


def ours(sampler: str) -> Method:
    """A search of this package, with its journal on the disk."""

    def run(problem: Problem, seed: int) -> Course:
        options = samplers.resolved(sampler, {})
        search = replace(problem.search, sampler=sampler, sampler_options=options, sampler_seed=seed)
        course, seen = Course(), set[str]()
        with tempfile.TemporaryDirectory() as folder:
            suggestions = Suggestions.kept("benchmark", search, Path(folder) / "journal.log")
            for _ in range(problem.budget):
                began = time.perf_counter()
                suggestion = suggestions.ask()
                course.seconds += time.perf_counter() - began
                if suggestion is None:
                    break
                values = problem.values(suggestion.params)
                course.wasted += suggestion.point.point_id in seen
                seen.add(suggestion.point.point_id)
                began = time.perf_counter()
                suggestions.tell(suggestion, TrialState.COMPLETE, values)
                course.seconds += time.perf_counter() - began
                course.values.append(values)
        return course

    return run


_PLAIN: Mapping[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    "cmaes": lambda seed: optuna.samplers.CmaEsSampler(seed=seed),
}

_WITH_RANKS: Mapping[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, n_startup_trials=5, multivariate=True),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed, n_startup_trials=5),
}


def plain(sampler: str, *, ranks: bool = False) -> Method:
    """Optuna by itself, in memory; with choices of numbers as ranks where that is asked for."""

    def run(problem: Problem, seed: int) -> Course:
        made = _WITH_RANKS.get(sampler, _PLAIN[sampler]) if ranks else _PLAIN[sampler]
        study = optuna.create_study(directions=[*problem.search.objectives.values()], sampler=made(seed))

        def ask() -> tuple[Any, Params]:
            trial = study.ask()
            return trial, _suggested(problem.search, trial, ranks=ranks)

        def tell(trial: Any, values: tuple[float, ...] | None) -> None:
            trial.set_constraint("possible", 1.0 if values is None else 0.0)
            study.tell(trial, _worst(problem) if values is None else values)

        return _course(problem, ask, tell)

    return run


def optuna_search() -> Method:
    """Ray Tune's own adapter, as its manual says, asked without a cluster."""

    def run(problem: Problem, seed: int) -> Course:
        from ray.tune.search.optuna import OptunaSearch

        metrics = [*problem.search.objectives]
        searcher = OptunaSearch(
            space=lambda trial: _define(problem.search, trial),
            metric=metrics if len(metrics) > 1 else metrics[0],
            mode=["min"] * len(metrics) if len(metrics) > 1 else "min",
            seed=seed,
        )
        count = 0

        def ask() -> tuple[Any, Params]:
            nonlocal count
            count += 1
            params = searcher.suggest(f"trial {count}")
            assert params is not None
            return f"trial {count}", params

        def tell(trial: Any, values: tuple[float, ...] | None) -> None:
            result = None if values is None else dict(zip(metrics, values, strict=True))
            searcher.on_trial_complete(trial, result, error=values is None)

        return _course(problem, ask, tell)

    return run


def _course(
    problem: Problem, ask: Callable[[], tuple[Any, Params]], tell: Callable[[Any, tuple[float, ...] | None], None]
) -> Course:
    course, seen = Course(), set[str]()
    while len(course.values) < problem.budget and len(course.values) + course.wasted < MOST_DRAWS * problem.budget:
        began = time.perf_counter()
        trial, params = ask()
        course.seconds += time.perf_counter() - began
        try:
            point_id = point_of(problem.search, params).point_id
            values: tuple[float, ...] | None = problem.values(params)
        except ValueError:
            values = None
        course.wasted += values is None or point_id in seen
        if values is not None:
            seen.add(point_id)
            course.values.append(values)
        began = time.perf_counter()
        tell(trial, values)
        course.seconds += time.perf_counter() - began
    return course


def _define(search: Search, trial: Any) -> None:
    """Names the fields to OptunaSearch."""
    _suggested(search, trial)


def _suggested(search: Search, trial: Any, *, ranks: bool = False) -> dict[str, Any]:
    """A point by the fields that its quantizer has, drawn by plain Optuna."""
    found, axes = dict[str, Any](), dict(search.space.axes)
    if isinstance(axis := axes.get("quantizer"), Choices):
        found["quantizer"] = trial.suggest_categorical("quantizer", list(axis.choices))
    for name in search.active({**search.fixed, **found}):
        axis = axes[name]
        if name == "quantizer":
            continue
        if isinstance(axis, Choices) and ranks:
            found[name] = sorted(axis.choices)[trial.suggest_int(name, 0, len(axis.choices) - 1)]
        elif isinstance(axis, Choices):
            found[name] = trial.suggest_categorical(name, list(axis.choices))
        else:
            found[name] = trial.suggest_float(name, axis.low, axis.high, log=axis.log)
    return found


def _worst(problem: Problem) -> tuple[float, ...]:
    return (problem.variance, *problem.reference[1:])


METHODS: Mapping[str, Mapping[str, tuple[Method, Method]]] = {
    problem: {
        sampler: (ours(sampler), plain(sampler))
        for sampler in ("tpe", "gp", "random", "nsga2", *(["cmaes"] if problem == "ranges" else []))
    }
    for problem in TEXTS
}
"""By problem and sampler: ours, and plain Optuna's."""


@click.command()
@click.option("--quick", is_flag=True, help="Three seeds, and shorter fits.")
@click.option("--problem", "names", multiple=True, type=click.Choice([*TEXTS]), help="Only these.")
@click.option("--table", type=click.Path(path_type=Path), help="A folder that keeps the stores of the tables.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the numbers as JSON lines.")
def main(quick: bool, names: Sequence[str], table: Path | None, out: Path | None) -> None:
    """Compute the tables, search them by every method, and print how far each came."""
    seeds = range(3 if quick else 20)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, quiet():
        for name in names or TEXTS:
            problem = _problem(name, table or Path(folder), steps=200 if quick else 2000)
            say(f"{name}: {problem.points} points, {problem.budget} evaluations, {len(seeds)} seeds")
            rows = []
            for sampler, (own, other) in METHODS[name].items():
                methods = {sampler: own, f"plain {sampler}": other}
                if name != "ranges" and sampler in _WITH_RANKS:
                    methods[f"plain {sampler}, with ranks"] = plain(sampler, ranks=True)
                if sampler == "tpe":
                    methods["OptunaSearch"] = optuna_search()
                for label, method in methods.items():
                    courses = [method(problem, seed) for seed in seeds]
                    rows.append([label, *_summary(problem, courses)])
                    say(f"  {' | '.join(rows[-1])}")
                    _write(out, problem, label, courses)
            headings = ["method", f"within {NEAR:.0%}", "gap (median, max)", "hypervolume (median, min)",
                        "wasted (median)", "ms a suggestion"]  # fmt: skip
            show(headings, rows)


def _summary(problem: Problem, courses: Sequence[Course]) -> list[str]:
    gaps = [min((values[0] for values in course.values), default=np.inf) / problem.best - 1 for course in courses]
    near = sum(gap <= NEAR for gap in gaps)
    volumes = [_hypervolume(course.values, problem.reference) / problem.front for course in courses if problem.front]
    each = [1000 * course.seconds / max(len(course.values), 1) for course in courses]
    return [
        f"{near} of {len(courses)}",
        f"{statistics.median(gaps):.1%}, {max(gaps):.1%}",
        f"{statistics.median(volumes):.3f}, {min(volumes):.3f}" if volumes else "",
        f"{statistics.median(course.wasted for course in courses):.0f}",
        f"{statistics.median(each):.0f}",
    ]


def _write(out: Path | None, problem: Problem, label: str, courses: Sequence[Course]) -> None:
    if out is not None:
        with out.open("a") as stream:
            for seed, course in enumerate(courses):
                line = {"problem": problem.name, "method": label, "seed": seed, "values": course.values,
                        "wasted": course.wasted, "seconds": course.seconds}  # fmt: skip
                stream.write(json.dumps(line) + "\n")


def _problem(name: str, folder: Path, *, steps: int) -> Problem:
    spec = parse_sweep(TEXTS[name].replace("STEPS", str(steps)), f"{name}.yaml")
    search = spec.search
    assert search is not None
    every = list(_knots(search) if name == "ranges" else search.space.combinations())
    every = [{key: params[key] for key in search.active({**search.fixed, **params})} for params in every]
    points = {point.point_id: (point, params) for params in every if search.possible(params)
              for point in [point_of(search, params)]}  # fmt: skip
    store = Store(folder / ("slices" if name == "front" else name))
    cells = [point.cell(seed) for point, _ in points.values() for seed in search.seeds]
    there = store.statuses()
    missing = [cell for cell in cells if cell.cell_id not in there]
    if missing:
        say(f"{name}: computing {len(missing)} cells")
        with _job(spec, store) as job:
            InProcess().run(GridPacks(pack_cells(missing, 1), job), job)
        store.merge()
    rows = store.load(columns=["point_id", "data_variance", *search.objectives])
    means = rows[rows["point_id"].isin(points)].groupby("point_id")[[*search.objectives]].mean()
    table = {str(point_id): tuple(map(float, values)) for point_id, *values in means.itertuples()}
    best = min(values[0] for values in table.values())
    problem = Problem(
        name=name, spec=spec, search=search, values=lambda params: table[point_of(search, params).point_id],
        points=len(points), best=best, variance=float(rows["data_variance"].mean()),
    )  # fmt: skip
    if len(search.objectives) > 1:
        problem.reference = tuple(REFERENCE_MARGIN * max(each) for each in zip(*table.values(), strict=True))
        problem.front = _hypervolume([*table.values()], problem.reference)
    if name == "ranges":
        problem.values = _interpolated([params for _, params in points.values()], [*points], table)
        fine = np.linspace(0, 1, 60)
        low, high = ({key: getattr(axis, end) for key, axis in search.space.axes.items()} for end in ("low", "high"))
        first, second = search.space.axes
        problem.best = min(
            problem.values({first: low[first] * (high[first] / low[first]) ** a,
                            second: low[second] * (high[second] / low[second]) ** b})[0]
            for a in fine for b in fine
        )  # fmt: skip
    return problem


def _knots(search: Search) -> Iterator[dict[str, float]]:
    """Points at equal ratios along each range."""
    axes = [np.geomspace(axis.low, axis.high, KNOTS) for axis in search.space.axes.values()
            if not isinstance(axis, Choices)]  # fmt: skip
    for values in np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes)):
        yield dict(zip(search.space.axes, map(float, values), strict=True))


def _interpolated(
    knots: Sequence[Params], ids: Sequence[str], table: Mapping[str, tuple[float, ...]]
) -> Callable[[Params], tuple[float, ...]]:
    """Linear between the knots, in the logarithms of the fields."""
    from scipy.interpolate import RegularGridInterpolator

    names = [*knots[0]]
    axes = [sorted({_log(knot[name]) for knot in knots}) for name in names]
    values = np.array([table[point_id][0] for point_id in ids]).reshape([len(axis) for axis in axes])
    surface = RegularGridInterpolator(axes, values, bounds_error=False, fill_value=None)
    return lambda params: (float(surface([[_log(params[name]) for name in names]])[0]),)


def _log(value: float) -> float:
    """The logarithm, of which equal values are equal to the last bit."""
    return float(np.round(np.log(value), 12))


def _hypervolume(values: Sequence[tuple[float, ...]], reference: tuple[float, ...]) -> float:
    """The area that two objectives, both minimised, dominate."""
    area, ceiling = 0.0, reference[1]
    for first, second in sorted(values):
        if second < ceiling and first < reference[0]:
            area += (reference[0] - first) * (ceiling - second)
            ceiling = second
    return area


@contextmanager
def _job(spec: SweepSpec, store: Store) -> Iterator[Job]:
    with Interruption() as interruption, Progress(1, 1.0, Console(quiet=True)) as progress:
        interruption.listen()
        yield Job(
            store=store, run=Run.start("benchmark"), resources=spec.resources, surroundings=spec.surroundings(),
            progress=progress, interruption=interruption,
        )  # fmt: skip


if __name__ == "__main__":
    main()
