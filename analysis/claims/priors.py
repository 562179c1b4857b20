"""What codes cost under the best prior: rows of `code_prior`, found by the cells whose codes they are of.

The best prior of a point and seed is the one under which the codes of its *other* seeds cost least.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from dvq_ray.experiments.code_prior.parents import quantizer_fields

from ..data.best_of_others import best_of_others
from ..data.rows import Rows
from .claim import Array, Fields, Member, Test
from .samples import IMAGES, MissingError, Sample, Stored, sampled, used_of

BEST = "best"
LADDER = ("uniform", "unigram", "positional", "chain", "spatial")
"""Priors of the protocol: all of them must have a row where the best is taken."""
CODES, TOTAL, RECONSTRUCTION = "code_bits_per_dim", "total_bits_per_dim", "reconstruction_bits_per_dim"
_DATA = "data_sha256"
Places = npt.NDArray[np.int64]


class PriorsOfCodes:
    """Rows of priors over the codes of one trainable's cells, beside the rows of these."""

    def __init__(self, rows: Rows, parents: Stored) -> None:
        self._parents, self._codes = parents, Stored(rows, "code_prior")
        self._fields = cache(self._uncached_fields)

    def _uncached_fields(self, parent: tuple[tuple[str, object], ...], prior: str) -> Fields:
        point = self._parents.point(dict(parent))
        return {**quantizer_fields(point.settings), "parent_point_id": point.point_id, "prior": prior, "coded": True}

    def sample(self, test: Test, cell: Sequence[Fields], seeds: range) -> Sample:
        """The statistic in a cell under the prior that the test names, as `Stored.sample` has it."""
        priors = LADDER if test.prior == BEST else (test.prior,)
        parents = np.stack([self._parents.places(fields, seeds) for fields in cell])
        fields = {
            prior: [self._fields(tuple(sorted(parent.items())), prior) for parent in cell] for prior in priors
        }  # fmt: skip
        places = np.stack([[self._codes.places(its, seeds) for its in fields[prior]] for prior in priors])
        lost = {**self._parents.lost(cell, parents, seeds, ())}
        for prior, its in zip(priors, places, strict=True):
            of_prior = self._codes.lost(fields[prior], its, seeds, (CODES, *test.metrics))
            lost |= {f"the {prior} prior of {state}": some for state, some in of_prior.items()}
        used = used_of(seeds, lost, places)
        parents, places = parents[:, used], places[..., used]
        self._parents.check_equal(parents)
        self._codes.check_equal(places)
        if self._parents.values(_DATA, parents) != self._codes.values(_DATA, places):
            raise MissingError("priors over codes of other data than those of the models, under one name")
        if len(priors) > 1 and used.sum() < 2:
            raise MissingError("one repetition, and the best prior is that of the others")
        chosen = best_of_others(self._codes.column(CODES)[places])
        own = np.take_along_axis(places, chosen[None], axis=0)[0]
        members = [self._member(test, parent, its) for parent, its in zip(parents, own, strict=True)]
        best = Counter(priors[place] for place in chosen.ravel()) if len(priors) > 1 else None
        return sampled(test, members, np.array(seeds)[used], lost, best)

    def _member(self, test: Test, parents: Places, places: Places) -> Member:
        metrics = {name: self._codes.column(name)[places] for name in test.metrics}
        images = self._images(parents, places) if test.images else {}
        return Member(metrics=metrics, images={name: images[name] for name in test.images})

    def _images(self, parents: Places, places: Places) -> Mapping[str, Array]:
        """Of each test image, what its reconstruction takes, its codes, and both: each [seeds, images]."""
        found = {
            **self._parents.images(self._parents.cell_ids(parents), [RECONSTRUCTION]),
            **self._codes.images(self._codes.cell_ids(places), [CODES]),
        }
        if found[RECONSTRUCTION].shape != found[CODES].shape:
            raise MissingError(f"{IMAGES} of unequal length")
        return {**found, TOTAL: found[RECONSTRUCTION] + found[CODES]}
