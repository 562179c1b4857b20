"""What `dvq-ray compare` needs to know of vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from dvq_ray.comparison.declared import Found
from dvq_ray.declarations.settings import Settings
from dvq_ray.experiments.vectors import data
from dvq_ray.experiments.vectors.sources import SOURCES, FileSource, Hdf5Source, VectorSource
from dvq_ray.fitting.settings import InitialCodes
from dvq_ray.quantizer.base import Quantizer
from dvq_ray.quantizer.usage import FEWEST_VECTORS_PER_CODE

HOLDOUT = 0.1
_FIRST_ROWS = 2000
_MUCH_LESS = 0.8
"""Training error over test error, below which codes fit the training rows."""
_FEW = 0.9
"""Share of the codes, below which it is said that the rest is never used."""
_CHEAPER = 0.95
"""Entropy over bits, below which it is said that equal bits are no equal costs."""
_COMPRESSED = (".gz", ".bz2", ".zst", ".lz4", ".xz")


class VectorComparison:
    """Quantizers of the rows of a file."""

    costs: ClassVar[Mapping[str, str]] = {
        "entropy_bits_per_vector": "entropy", "encoded_per_second": "encoded/s", "codec_bytes": "codec bytes",
    }  # fmt: skip

    def description(self, train: str, test: str | None, columns: Sequence[str] = ()) -> Mapping[str, Any]:
        """By the ending of the file's name; without a test file a tenth of the rows is held out."""
        sources = {each.ending: each for each in SOURCES if issubclass(each, FileSource)}
        bare = train.lower()
        for ending in _COMPRESSED:
            bare = bare.removesuffix(ending)
        source = sources.get(bare.rpartition(".")[2])
        if source is None:
            raise ValueError(f"the name says no format; allowed: names that end in .{', .'.join(sources)}")
        if columns and "columns" not in source.model_fields:
            raise ValueError(f"has no columns to choose from; allowed with --columns: {_with_columns(sources)}")
        kind = source.model_fields["format"].default
        named = {"columns": [*columns]} if columns else {}
        if test is not None:
            return {"format": kind, "train": train, "test": test, **named}
        return {"format": kind, "train": train, **named, **({} if source is Hdf5Source else {"holdout": HOLDOUT})}

    def look(self, source: VectorSource) -> Found:
        """Reads all rows, as every cell does."""
        source = source.expanded()
        dimension, digest = data.scan(source, "train").dimension, data.digest(source)
        return Found(width=dimension, train=data.train_count(source), digest=digest)

    def fields(self, variant: type[Settings], own: Mapping[str, Any]) -> Mapping[str, Any]:
        """Codes that learn by gradient start at training rows: one far from all rows would never be chosen."""
        starts = issubclass(variant, InitialCodes) and "start" not in own
        return {**own, **({"start": "k-means++"} if starts else {})}

    def first_look(self, found: Found) -> Mapping[str, Any] | None:
        """The first rows of those that are for training."""
        return {"rows": _FIRST_ROWS} if found.train >= 2 * _FIRST_ROWS else None

    def cautions(self, settings: Settings, rows: pd.DataFrame) -> Sequence[str]:
        """Codes that fit the training rows, are never used or cost less than their bits; too few rows for them."""
        assert isinstance(settings, Quantizer)
        found = []
        train, test = float(rows["train_mse"].mean()), float(rows["test_mse"].mean())
        if train < _MUCH_LESS * test:
            found.append(f"overfits: the training error is {1 - train / test:.0%} below the test error")
        pairs = zip(rows["codes_used"], rows["unseen_codes_high"], strict=True)
        used = np.array([np.add(seen, unseen) for seen, unseen in pairs])
        share = float((used.mean(axis=0) / settings.codebook_sizes()).clip(max=1).mean())
        if share < _FEW:
            found.append(f"dead codes: at least {1 - share:.0%} of the codes occur in no test row")
        cost = float(rows["entropy_bits_per_vector"].mean()) / settings.bits()
        if cost < _CHEAPER:
            found.append(f"entropy coding would save {1 - cost:.0%} of the bits, which are counted in full here")
        each = float(rows["vectors_per_code"].mean())
        if each < FEWEST_VECTORS_PER_CODE:
            few = f"below {FEWEST_VECTORS_PER_CODE} codes fit single rows"
            found.append(f"{each:.3g} training rows for each code; {few}")
        return found


def _with_columns(sources: Mapping[str, type[FileSource]]) -> str:
    return ", ".join(f".{ending}" for ending, each in sources.items() if "columns" in each.model_fields)


COMPARISON = VectorComparison()
