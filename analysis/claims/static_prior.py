"""The claims of the paper's section 4.1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import statistics
from .claim import Claim, Form, Settings, Test
from .intervals import Region

LOSS, VARIANCE, UNTRAINED = "test_mse", "data_variance", "untrained_test_mse"
EQUAL_BITS = {(16, 2): 256, (32, 2): 1024}
"""Codebook size of the plain VQ with the bits of DVQ, by the codebook size and slices of the latter."""
MARGIN = 0.01
"""How far above 1 a loss over variance may lie and still be no worse than predicting the mean."""

_SWEEP, _FULL = "sweeps/static_prior.yaml", "sweeps/static_prior_full.yaml"
_FACTORIAL = "sweeps/factorial.yaml"
_FACTORS = (64, 256, 1024, 4096, 16384)
_SLICED: dict[str, tuple[Any, ...]] = {"quantizer": ("dvq",), "slices": (2, 4, 8), "factors": _FACTORS}
_DIMENSIONS = (2, 4, 8, 16, 32, 64, 128, 256)
_BOUNDS = (0.05, 1, 10, 17.3)


def _vq(**change: Any) -> dict[str, Any]:
    return {"quantizer": "vq", "slices": 1, **change}


def _versus(partner: Any, **what: Any) -> Test:
    """DVQ's loss against that of the VQ with these differences."""
    return Test(
        **{"anchors": {**_SLICED, "dimension": (8, 16, 32, 64, 128, 256)}, **what},
        partners=lambda point: (partner(point),), metrics=(LOSS,), statistic=statistics.difference(LOSS),
        name="DVQ − VQ, test loss", region=Region(high=0),
    )  # fmt: skip


def _equal_bits(factors: tuple[int, ...] = _FACTORS) -> Test:
    sizes = tuple(size for size, _ in EQUAL_BITS)
    anchors = {**_SLICED, "slices": (2,), "dimension": (16, 64), "codebook_size": sizes, "factors": factors}
    return _versus(
        lambda point: _vq(codebook_size=EQUAL_BITS[point["codebook_size"], point["slices"]]),
        anchors=anchors, keep=lambda point: (point["codebook_size"], point["slices"]) in EQUAL_BITS,
    )  # fmt: skip


def _fewer_codes(point: Settings) -> bool:
    return bool(point["codebook_size"] < point["factors"])


_SAME_SIZE = _versus(lambda point: _vq(), keep=_fewer_codes)
_PARAMETERS = (
    "DVQ against VQ of the same K: codebooks have K · D parameters whatever the slices. DVQ sends L times the bits"
)
_BITS = "DVQ (K = 16, L = 2; K = 32, L = 2) against VQ of as many bits (K = 256; K = 1024) has a lower test loss"


def _larger_codebooks(slices: tuple[int, ...]) -> tuple[Test, ...]:
    """DVQ with K = 16 against plain codebooks of 256 (8 bits) and 1024 (10 bits), both fewer than factors."""
    return tuple(
        _versus(
            lambda point, size=size: _vq(codebook_size=size),
            anchors={"quantizer": ("dvq",), "slices": slices, "dimension": (16, 64), "codebook_size": (16,),
                     "factors": tuple(factors for factors in _FACTORS if factors > size)},
        )
        for size in (256, 1024)
    )  # fmt: skip


def _trend(statistic: statistics.Statistic, name: str, region: Region, *, percent: bool = False) -> Test:
    anchors = {**_SLICED, "dimension": (16, 64), "codebook_size": (16,)}
    return Test(
        anchors=anchors, partners=lambda point: (_vq(),), along=("factors", _FACTORS), metrics=(LOSS,),
        statistic=statistic, name=name, region=region, percent=percent,
    )  # fmt: skip


def _flat(quantizer: str, bounds: tuple[float, ...] = ()) -> Test:
    """Loss of K = 16 less that of K = 1024, in more than 16 dimensions."""
    anchors: dict[str, tuple[Any, ...]] = {
        "quantizer": (quantizer,), "dimension": (32, 64, 128, 256), "codebook_size": (16,), "slices": (1,),
    }  # fmt: skip
    return Test(
        anchors={**anchors, "init_bound": bounds} if bounds else anchors,
        keep=lambda point: bool(point["factors"] > 1024),
        partners=lambda point: ({"codebook_size": 1024},),
        metrics=(LOSS, VARIANCE), statistic=statistics.drop_over(LOSS, VARIANCE),
        name="loss at K = 16 less that at K = 1024, over the variance", region=Region(high=0.05), percent=True,
    )  # fmt: skip


def _larger(bounds: tuple[float, ...] = ()) -> Test:
    """Four times the codes, still fewer than factors, in up to 16 dimensions."""
    anchors: dict[str, tuple[Any, ...]] = {
        "quantizer": ("vq",), "dimension": (2, 4, 8, 16), "codebook_size": (16, 64, 256),
    }  # fmt: skip
    return Test(
        anchors={**anchors, "init_bound": bounds} if bounds else anchors,
        keep=lambda point: bool(4 * point["codebook_size"] < point["factors"]),
        partners=lambda point: ({"codebook_size": 4 * point["codebook_size"]},),
        metrics=(LOSS,), statistic=statistics.drop(LOSS),
        name="drop of the test loss with four times the codes", region=Region(low=0.1), percent=True,
    )  # fmt: skip


def _starts(test: Callable[[tuple[float, ...]], Test]) -> tuple[Form, ...]:
    """The same for each start of the codes alone: the paper's bounds are not known."""
    return tuple(
        Form(name=f"codes start in ±{bound:g}", ours=f"the same where codes start uniform in ±{bound:g}",
             tests=(test((bound,)),))
        for bound in _BOUNDS
    )  # fmt: skip


def _no_worse(statistic: statistics.Statistic, metrics: tuple[str, ...], name: str, most: float) -> Test:
    return Test(
        anchors={"quantizer": ("vq",), "dimension": _DIMENSIONS, "factors": _FACTORS}, keep=_fewer_codes,
        metrics=metrics, statistic=statistic, name=name, region=Region(high=most),
    )  # fmt: skip


def _factorial(quantizer: str, codes_over_centres: int) -> Test:
    """The loss on blobs of independent groups, cut along the groups."""
    return Test(
        anchors={"quantizer": (quantizer,), "groups": (2, 4, 8), "dependence": (0.0,)},
        keep=lambda point: bool(
            point["slices"] == point["groups"] and point["codebook_size"] == codes_over_centres * point["centres"]
        ),
        metrics=(LOSS,), statistic=statistics.level(LOSS), name="test loss", region=Region(high=1.1),
    )  # fmt: skip


def _claim(
    number: int, paper: str, where: str, form: Form, *others: Form, trainable: str = "static_prior",
    sweep: str = _SWEEP, fuller: str = "",
) -> Claim:  # fmt: skip
    return Claim(
        number=number, paper=paper, where=where, trainable=trainable, form=form, others=others, sweep=sweep,
        fuller=fuller,
    )  # fmt: skip


CLAIMS = (
    _claim(
        1, "Several depthwise codebooks improve on one of the same size, with fewer codes than factors",
        "section 4.1.1, Figure 4",
        Form(ours="DVQ has a lower test loss than VQ of the same K wherever F > K, F ≥ 64, D ≥ 8", tests=(_SAME_SIZE,)),
        Form(name="at equal bits", ours=_BITS, tests=(_equal_bits(),)),
        Form(name="at equal parameters", ours=_PARAMETERS, tests=(_SAME_SIZE,)),
        fuller=_FULL,
    ),
    _claim(
        2, "Substantial improvements in all experiments with a static prior", "section 1.3",
        Form(
            ours="the same at every D and F that was run, F ≤ K too",
            tests=(_versus(
                lambda point: _vq(),
                anchors={"quantizer": ("dvq",), "slices": (2, 4, 8), "factors": (16, *_FACTORS),
                         "dimension": _DIMENSIONS}),),
        ),
        fuller=_FULL,
    ),
    _claim(
        3, "The disparity between DVQ and VQ grows with the number of factors", "section 4.1.1, Figure 4",
        Form(
            ours="the gap in test loss, VQ less DVQ at K = 16, rises with F > K (Spearman's correlation above 0.9) "
            "and by more than 5% over the last step of F",
            tests=(
                _trend(statistics.rank_correlation_of_gap(LOSS), "Spearman's correlation of gap and F",
                       Region(low=0.9)),
                _trend(statistics.last_growth_of_gap(LOSS), "growth of the gap over the last step of F",
                       Region(low=0.05), percent=True),
            ),
        ),
    ),
    _claim(
        4, "A single larger codebook still under-performs DVQ", "section 4.1.1, Figure 4",
        Form(
            ours="DVQ with K = 16 has a lower test loss than VQ with K = 256 and with K = 1024, wherever F is "
            "larger still",
            tests=_larger_codebooks((2, 4, 8)),
        ),
        *(
            Form(name=f"L = {slices}, {4 * slices} bits", ours=f"the same with L = {slices} alone",
                 tests=_larger_codebooks((slices,)))
            for slices in (2, 4, 8)
        ),
        Form(name="at equal bits", ours=f"{_BITS}, at F > K of the VQ",
             tests=(_equal_bits(factors=(1024, 4096, 16384)),)),
        Form(name="at equal parameters", ours=_PARAMETERS, tests=(_SAME_SIZE,)),
    ),
    _claim(
        5, "DVQ expresses the same number of factors at a lower cost than one large codebook", "section 3.1",
        Form(ours=_BITS, tests=(_equal_bits(factors=(16, *_FACTORS)),)),
        Form(name="at equal parameters", ours=_PARAMETERS, tests=(_SAME_SIZE,)),
    ),
    _claim(
        6, "Up to 16 dimensions a larger codebook improves the loss", "section 4.1, Figure 3(a)",
        Form(
            ours="with D ≤ 16 each fourfold K, up to below F, takes more than 10% off VQ's test loss",
            tests=(_larger(),),
        ),
        *_starts(_larger),
    ),
    _claim(
        7, "Above 16 dimensions all codebooks converge to the same loss, whatever their size",
        "section 4.1, Figure 3(a)",
        Form(
            ours="with D > 16 VQ's test loss falls by less than 5% of the variance from K = 16 to K = 1024 < F, "
            "wherever codes start (the paper's bounds are not known)",
            tests=(_flat("vq"),),
        ),
        *_starts(lambda bounds: _flat("vq", bounds)),
    ),
    _claim(
        8, "VQ cannot find the mapping in many dimensions: the dimension is the cause", "sections 1.2 and 4.1",
        Form(ours="claim 7 persists where k-means finds the codes, which depends on no initial bound",
             tests=(_flat("kmeans"),)),
    ),
    _claim(
        9, "With far fewer codes than factors the loss does not become worse than random", "section 4.1, Figure 3(b)",
        Form(
            ours="VQ's test loss with K < F exceeds the variance, the error of predicting the mean, by less than "
            f"{MARGIN:.0%}",
            tests=(_no_worse(statistics.level("loss_over_variance"), ("loss_over_variance",),
                             "test loss over variance", 1 + MARGIN),),
        ),
        Form(
            name="random: untrained codes", ours="VQ's test loss with K < F is below that of its own initial codes",
            tests=(_no_worse(statistics.ratio(LOSS, UNTRAINED), (LOSS, UNTRAINED),
                             "test loss over the untrained one", 1),),
        ),
    ),
    _claim(
        10, "DVQ expresses K^L factors with codebooks that grow linearly", "section 3.1",
        Form(
            ours="on F = K^L blobs, K in each of L groups of features, the test loss of DVQ with K codes in each of L "
            "slices is within 10% of the blobs' own spread",
            tests=(_factorial("dvq", 1),),
        ),
        Form(name="twice the codes", ours="the same with 2K codes in each slice, still linear in L",
             tests=(_factorial("dvq", 2),)),
        Form(name="k-means", ours="the same where k-means finds the codes of each slice",
             tests=(_factorial("kmeans", 1),)),
        Form(name="k-means, twice the codes", ours="the same where k-means finds 2K codes in each slice",
             tests=(_factorial("kmeans", 2),)),
        trainable="factorial_prior", sweep=_FACTORIAL,
    ),
)  # fmt: skip
