"""Contract suites: the tests that our own quantizers, experiments, data sources, executors and sources of packs pass.

They are there to run on yours.

    from dvq_ray.testing import QuantizerContract

    class TestMine(QuantizerContract):
        quantizer = "my_pkg.rvq:Rvq"
        fields = {"stages": 2, "codebook_size": 16}

pytest finds the tests in the subclass. Each says in its name what it expects.
"""

from dvq_ray.testing.executor import ExecutorContract
from dvq_ray.testing.experiment import ExperimentContract
from dvq_ray.testing.packs import PackSourceContract
from dvq_ray.testing.quantizer import QuantizerContract
from dvq_ray.testing.source import SourceContract

__all__ = ["ExecutorContract", "ExperimentContract", "PackSourceContract", "QuantizerContract", "SourceContract"]
