"""Optuna's samplers, held to points that can be and that were not suggested before.

Which points these are is known, so that nothing need be learnt about it. TPE's candidates and those of the Gaussian
process are drawn until they are such points, and the best of them by the sampler's own rule is taken. A sampler without
candidates draws again. Where one insists, the nearest such point stands in for its draw, never one at random.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from inspect import signature
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.trial import FrozenTrial, TrialState

from dvq_ray.search.rectangle import MOST_STEPS
from dvq_ray.streams import stream
from dvq_ray.sweep.samplers import HUB
from dvq_ray.sweep.search import Search, SearchError

Values = Mapping[str, Any]
"""A value for every field of the rectangle."""
Accepts = Callable[[Values], bool]

DRAWS = 100
"""How often a sampler that draws one point at a time draws again."""
CANDIDATE_ROUNDS = 20
"""How often TPE draws its candidates again, until enough of them can be used."""
GP_CANDIDATES = 2048
"""Points at which the acquisition function is looked at where its maximum cannot be used: Optuna's own number."""


class NothingLeftError(Exception):
    """No point was found that can be and was not suggested."""


class Held(BaseSampler):
    """Draws with another sampler until `accepts` takes the draw; else `instead` says what to take in its place.

    `canonical` gives the draw in the form in which a restarted search would know it. `fixed` are values that it must
    have.
    """

    def __init__(
        self,
        inner: BaseSampler,
        distributions: Mapping[str, BaseDistribution],
        accepts: Accepts,
        instead: Callable[[Values], Values | None],
        canonical: Callable[[Values], Values],
        fixed: Values,
    ) -> None:
        self._inner = inner
        self._distributions = dict(distributions)
        self._accepts = accepts
        self._instead = instead
        self._canonical = canonical
        # Optuna never asks a sampler for a field that has one value.
        self._given = {**{name: _only(kind) for name, kind in distributions.items() if kind.single()}, **fixed}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All fields: they are judged together."""
        return self._distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A value for every field. Raises `NothingLeftError`."""
        drawn = dict[str, Any]()
        for _ in range(DRAWS):
            joint = self._inner.infer_relative_search_space(study, trial)
            drawn = dict(self._inner.sample_relative(study, trial, joint)) if joint else {}
            is_of_model = bool(drawn)
            for name, distribution in search_space.items():
                if name not in drawn and name not in self._given:
                    drawn[name] = self._inner.sample_independent(study, trial, name, distribution)
            drawn |= self._given
            if self._accepts(drawn):
                return dict(self._canonical(drawn))
            if is_of_model and isinstance(self._inner, GPSampler):
                break  # it is fitted anew for each draw, and a second one would be like the first
        instead = self._instead(drawn)
        if instead is None:
            raise NothingLeftError
        return dict(self._canonical(instead))

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Never asked for: no field is left."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """As the inner sampler."""
        self._inner.before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """As the inner sampler."""
        self._inner.after_trial(study, trial, state, values)


class _Tpe(TPESampler):
    """Chooses among candidates that `accepts` takes."""

    def __init__(self, accepts: Accepts, whole: Callable[[Values], Values | None], **options: Any) -> None:
        super().__init__(**options)

        class Estimator(_ParzenEstimator):
            def sample(self, rng: np.random.RandomState, size: int) -> dict[str, npt.NDArray[Any]]:
                found: list[dict[str, npt.NDArray[Any]]] = []
                drawn = super().sample(rng, size)
                for _ in range(CANDIDATE_ROUNDS):
                    right = [place for place in range(size) if self._is_right(drawn, place)]
                    found.append({name: values[right] for name, values in drawn.items()})
                    if sum(len(next(iter(each.values()))) for each in found) >= size:
                        break
                    drawn = super().sample(rng, size)
                joined = {name: np.concatenate([each[name] for each in found])[:size] for name in drawn}
                return joined if len(next(iter(joined.values()))) else drawn

            def _is_right(self, drawn: Mapping[str, npt.NDArray[Any]], place: int) -> bool:
                values = whole(
                    {name: self._search_space[name].to_external_repr(each[place].item())
                     for name, each in drawn.items()}
                )  # fmt: skip
                return values is None or accepts(values)

        # Optuna leaves this to be replaced: "Users can overwrite _ParzenEstimator to customize the TPE behavior."
        self._parzen_estimator_cls = Estimator


class _Gp(GPSampler):
    """Takes the best point by its acquisition function among those that `accepts` takes.

    Whole numbers of a long range are a continuum to it: it would list them, at gigabytes for each hundred million.
    """

    def __init__(self, accepts: Accepts, whole: Callable[[Values], Values | None], is_small: bool, **options: Any):
        super().__init__(**options)
        self._accepts = accepts
        self._whole = whole
        self._is_small = is_small

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {
            name: FloatDistribution(each.low, each.high, log=each.log)
            if isinstance(each, IntDistribution) and (each.high - each.low) // each.step >= MOST_STEPS
            else each
            for name, each in super().infer_relative_search_space(study, trial).items()
        }

    def _optimize_acqf(self, acqf: Any, best_params: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64]:
        space = acqf.search_space
        if not self._is_small:  # else the candidates below are all that there is
            found: npt.NDArray[np.float64] = super()._optimize_acqf(acqf, best_params)
            if self._is_right(space, found):
                return found
        if self._is_small:
            grids = np.meshgrid(*space.get_choices_of_discrete_params(), indexing="ij")
            candidates = np.stack(grids, -1).reshape(-1, len(grids))
        else:
            candidates = np.unique(space.sample_normalized_params(GP_CANDIDATES, self._rng.rng), axis=0)
        right = np.array([self._is_right(space, each) for each in candidates])
        candidates = candidates[right] if right.any() else candidates
        best: npt.NDArray[np.float64] = candidates[int(np.argmax(acqf.eval_acqf_no_grad(candidates)))]
        return best

    def _is_right(self, space: Any, normalized: npt.NDArray[np.float64]) -> bool:
        values = self._whole(space.get_unnormalized_param(normalized))
        return values is None or self._accepts(values)


def sampler_of(
    search: Search, number: int, distributions: Mapping[str, BaseDistribution], accepts: Accepts, fixed: Values
) -> BaseSampler:
    """The sampler for suggestion `number`: its random numbers follow from the search's seed and that number.

    Raises `SearchError` where it is one of OptunaHub that cannot be had.
    """
    seed = int(stream(search.sampler_seed, f"sampler of suggestion {number}").integers(2**31))
    name, options = search.sampler, dict(search.sampler_options)
    single = {each: fixed.get(each, _only(kind)) for each, kind in distributions.items()
              if kind.single() or each in fixed}  # fmt: skip

    def whole(drawn: Values) -> Values | None:
        """With the fields that there is nothing to draw of; None where other fields are missing."""
        values = {**drawn, **single}
        return values if values.keys() >= distributions.keys() else None

    if name == "tpe":
        return _Tpe(accepts, whole, seed=seed, constant_liar=True, **options)
    if name == "gp":
        size = np.prod([_count(kind) for kind in distributions.values()], dtype=float)
        return _Gp(accepts, whole, bool(size <= GP_CANDIDATES), seed=seed, **options)
    if name == "cmaes":
        return CmaEsSampler(seed=seed, warn_independent_sampling=False, **options)
    if name == "nsga2":
        return NSGAIISampler(seed=seed, **options)
    if name == "nsga3":
        return NSGAIIISampler(seed=seed, **options)
    return RandomSampler(seed=seed) if name == "random" else _of_hub(name.removeprefix(HUB), seed, options)


def check_sampler(search: Search) -> None:
    """Raises `SearchError` where the sampler, of OptunaHub, cannot be had."""
    if search.sampler.startswith(HUB):
        _of_hub(search.sampler.removeprefix(HUB), 0, search.sampler_options)


def _of_hub(path: str, seed: int, options: Mapping[str, Any]) -> BaseSampler:
    """A sampler of OptunaHub. One that takes a seed is given one."""
    kind = _class_of_hub(path)
    try:
        seeded = {"seed": seed} if "seed" in signature(kind).parameters else {}
        sampler: BaseSampler = kind(**seeded, **options)
    except Exception as error:  # of its own code
        raise _unusable(path, error) from error
    return sampler


@cache
def _class_of_hub(path: str) -> Any:
    """The sampler that a package of OptunaHub brings. Loaded once: each time it may be fetched from the network."""
    try:
        import optunahub
    except ImportError:
        raise SearchError(f'sampler "{HUB}{path}": optunahub is not installed (pip install optunahub)') from None
    try:
        module = optunahub.load_module(path)
        classes = [value for value in vars(module).values() if isinstance(value, type)
                   and issubclass(value, BaseSampler) and value.__module__.startswith(module.__name__)]  # fmt: skip
        if len(classes) != 1:
            raise ValueError(f"it has {len(classes)} samplers, and not one")
    except Exception as error:  # of the network, or of the package
        raise _unusable(path, error) from error
    return classes[0]


def _unusable(path: str, error: Exception) -> SearchError:
    return SearchError(f'sampler "{HUB}{path}" cannot be used: {type(error).__name__}: {error}')


def _only(kind: BaseDistribution) -> Any:
    """The value of a distribution that has one."""
    return getattr(kind, "choices", (getattr(kind, "low", None),))[0]


def _count(kind: BaseDistribution) -> float:
    """How many values it has."""
    if isinstance(kind, FloatDistribution | IntDistribution):
        if kind.step is None:
            return 1.0 if kind.single() else float("inf")
        return (kind.high - kind.low) // kind.step + 1
    return float(len(kind.choices))  # type: ignore[attr-defined]
