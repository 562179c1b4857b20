from __future__ import annotations

from pathlib import Path

import pytest

from dvq_ray.experiments.learned_prior.sources import FolderSource
from dvq_ray.testing import ExperimentContract, QuantizerContract
from tests.sweep_files import write_pictures

BLOBS = {"quantizer": "dvq", "slices": 2, "dimension": 8, "codebook_size": 8, "train_samples": 512, "steps": 50}


class TestVq(QuantizerContract):
    quantizer = "vq"
    fields = {"codebook_size": 16}


class TestDvq(QuantizerContract):
    quantizer = "dvq"
    fields = {"codebook_size": 16, "slices": 4}


class TestSvq(QuantizerContract):
    quantizer = "svq"
    fields = {"codebook_size": 16, "slices": 4, "joint_positions": 2}


class TestKMeans(QuantizerContract):
    quantizer = "kmeans"
    fields = {"codebook_size": 16, "slices": 2}


class TestPq(QuantizerContract):
    quantizer = "pq"
    fields = {"codebook_size": 16, "slices": 2}


class TestOpq(QuantizerContract):
    quantizer = "opq"
    fields = {"codebook_size": 16, "slices": 2}


class TestRvq(QuantizerContract):
    quantizer = "rvq"
    fields = {"codebook_size": 16, "stages": 3}
    finds_nearest = False


class TestGrvq(QuantizerContract):
    quantizer = "grvq"
    fields = {"codebook_size": 16, "stages": 2, "slices": 2}
    finds_nearest = False


class TestLsq(QuantizerContract):
    quantizer = "lsq"
    fields = {"codebook_size": 16, "additive_codebooks": 2, "training_rounds": 5}
    finds_nearest = False


class TestFaissProduct(QuantizerContract):
    quantizer = "faiss"
    fields = {"factory_string": "PCAR6,PQ3x5", "features": 8}


class TestFaissNorms(QuantizerContract):
    quantizer = "faiss"
    fields = {"factory_string": "RQ3x5_Nqint8", "features": 8}
    finds_nearest = False


class TestFaissBytes(QuantizerContract):
    quantizer = "faiss"
    fields = {"factory_string": "RaBitQ", "features": 8}
    finds_nearest = False


class TestFsq(QuantizerContract):
    quantizer = "fsq"
    fields = {"levels": "8x8x8x8"}
    finds_nearest = False


class TestLfq(QuantizerContract):
    quantizer = "lfq"
    fields = {"sign_bits": 12}
    finds_nearest = False


class TestBsq(QuantizerContract):
    quantizer = "bsq"
    fields = {"sign_bits": 6}
    finds_nearest = False


class TestSimVq(QuantizerContract):
    quantizer = "simvq"
    fields = {"codebook_size": 16}


class TestLibraryMovingAverages(QuantizerContract):
    quantizer = "vector_quantize_pytorch"
    fields = {"library_call": "VectorQuantize(codebook_size=16, codebook_dim=4, decay=0.8)"}
    finds_nearest = False


class TestLibraryGroups(QuantizerContract):
    quantizer = "vector_quantize_pytorch"
    fields = {"library_call": "GroupedResidualVQ(num_quantizers=2, groups=2, codebook_size=16, decay=0.8)"}
    finds_nearest = False


class TestLibraryRounding(QuantizerContract):
    quantizer = "vector_quantize_pytorch"
    fields = {"library_call": "ResidualFSQ(levels=[5, 5, 5], num_quantizers=2)"}
    finds_nearest = False


class TestLibraryByGradient(QuantizerContract):
    quantizer = "vector_quantize_pytorch"
    fields = {"library_call": "SimVQ(codebook_size=16, rotation_trick=False)"}


class TestStaticPrior(ExperimentContract):
    experiment = "static_prior"
    fields = {**BLOBS, "factors": 16}


class TestFactorialPrior(ExperimentContract):
    experiment = "factorial_prior"
    fields = {**BLOBS, "groups": 2, "centres": 4}


class TestLearnedPrior(ExperimentContract):
    experiment = "learned_prior"
    fields = {
        "quantizer": "dvq", "slices": 2, "dimension": 4, "codebook_size": 8, "image_size": 8, "downsamplings": 1,
        "stem_channels": 4, "body_channels": 4, "residual_channels": 4, "residual_blocks": 0, "steps": 3,
        "batch_size": 4, "dataset": "few",
    }  # fmt: skip
    not_results = frozenset({"images_per_second", "peak_memory_bytes"})

    @pytest.fixture(autouse=True)
    def _few_images(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_pictures(tmp_path)
        few = FolderSource(train=str(tmp_path / "train"), test=str(tmp_path / "test"))
        monkeypatch.setattr(type(self), "data", {"few": few})


class TestLearnedPriorWithoutCodebooks(TestLearnedPrior):
    fields = {
        **{name: value for name, value in TestLearnedPrior.fields.items() if name not in ("slices", "codebook_size")},
        "quantizer": "fsq",
        "levels": "8x5",
    }


class TestLearnedPriorWithTurnedGradients(TestLearnedPrior):
    fields = {**TestLearnedPrior.fields, "code_gradient": "rotation"}
