from __future__ import annotations

from typing import Any

import pytest

from dvq_ray.experiments.code_prior.parents import CodesSource
from dvq_ray.store import Store
from dvq_ray.testing import ExperimentContract
from tests.code_prior.stores import GRIDS, SMALL, image_sweep, run


class TestCodePrior(ExperimentContract):
    experiment = "code_prior"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def parents(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        """Cells of seeds 0, 1 and 3 with codes."""
        folder = tmp_path_factory.mktemp("images")
        run(image_sweep(folder / "pictures", seeds=[0, 1, 3], grids={"dvq": GRIDS["dvq"]}), folder)
        point_id = Store(folder / "images").load()["point_id"].iloc[0]
        test: Any = cls
        test.fields = {
            "quantizer": "dvq", "slices": 2, "codebook_size": 4, "parent_point_id": point_id, "prior": "spatial",
            "prior_convolutions": 2, "coded": True, **SMALL,
        }  # fmt: skip
        test.data = {point_id: CodesSource(store=str(folder / "images"))}
