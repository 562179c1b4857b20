"""What a fit leaves: codes, vectors again, and an export that needs no pickle."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiments.static_prior.blobs import draw_blobs
from dvq_ray.fitting import compiled
from dvq_ray.fitting.codecs.codebooks import CodebookCodec
from dvq_ray.fitting.fit import Data, fit
from dvq_ray.fitting.problem import FitResult
from dvq_ray.quantizer.base import Codec, Quantizer, Vectors, code_type
from dvq_ray.quantizer.codecs import codec_from, described
from dvq_ray.streams import stream
from dvq_ray.testing import QuantizerContract

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def _examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))


class TestOneOfTheUsersOwn(QuantizerContract):
    quantizer = "residual_vq:ResidualVq"
    fields = {"stages": 2, "codebook_size": 16}
    finds_nearest = False


class Mean(Codec):
    """One code, which is the mean."""

    def __init__(self, mean: Vectors) -> None:
        self.mean = mean

    def encode(self, vectors: Vectors) -> npt.NDArray[np.uint8]:
        return np.zeros((len(vectors), 1), np.uint8)

    def decode(self, codes: npt.NDArray[np.integer[Any]]) -> Vectors:
        return np.repeat(self.mean[None], len(codes), 0)


class ExportedMean(Mean):
    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        return {"mean": self.mean}

    @classmethod
    def rebuilt(cls, description: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> ExportedMean:
        return cls(arrays["mean"])


def _fit(train: Vectors, test: Vectors, **fields: Any) -> FitResult:
    base = {"factors": 16, "dimension": train.shape[1], "train_samples": len(train)}
    settings = find_experiment("static_prior").settings({**base, **fields})
    assert isinstance(settings, Quantizer)
    (result,) = fit(settings, [Data(seed=0, train=train, test=test)], "cpu")
    return result


BLOBS = draw_blobs(factors=64, dimension=12, train_samples=4096, test_samples=1024, rng=stream(0, "data"))


@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize("steps", [1, 300])
def test_trained_codebooks_give_their_errors_again_to_the_bit_also_after_an_export(slices: int, steps: int) -> None:
    found = _fit(BLOBS.train, BLOBS.test, quantizer="dvq", slices=slices, codebook_size=50, steps=steps)
    again = codec_from(json.loads(json.dumps(described(found.codec))), found.codec.arrays())
    for codec in (found.codec, again):
        train_mse, counts = codec.evaluate(BLOBS.train, (50,) * slices)
        assert train_mse == found.train_mse
        assert codec.evaluate(BLOBS.test, (50,) * slices)[0] == found.test_mse
        assert np.array_equal(counts, found.code_counts)
        codes = codec.encode(BLOBS.train)
        assert np.array_equal([np.bincount(column, minlength=50) for column in codes.T], found.code_counts)


def test_the_norms_of_training_decide_which_code_is_nearest() -> None:
    """Two equal codes, of which training has rounded the second one's norm down."""
    codebooks = np.ones((1, 2, 3), np.float32)
    vectors = np.ones((4, 3), np.float32)
    assert CodebookCodec(codebooks).encode(vectors).tolist() == [[0]] * 4
    lower = np.array([[1.5, np.nextafter(np.float32(1.5), np.float32(0))]], np.float32)
    codec = CodebookCodec(codebooks, lower)
    assert codec.encode(vectors).tolist() == [[1]] * 4
    assert codec_from(described(codec), codec.arrays()).encode(vectors).tolist() == [[1]] * 4


def test_codes_do_not_depend_on_which_vectors_are_encoded_together() -> None:
    codec = _fit(BLOBS.train, BLOBS.test, quantizer="dvq", slices=3, codebook_size=50, steps=20).codec
    together = codec.encode(BLOBS.test)
    assert (np.concatenate([codec.encode(BLOBS.test[:1]), codec.encode(BLOBS.test[1:])]) == together).all()


@pytest.mark.parametrize(
    ("sizes", "expected"), [((2,), "uint8"), ((256,), "uint8"), ((16, 257), "uint16"), ((65537,), "uint32")]
)
def test_codes_have_the_smallest_type_that_holds_them(sizes: tuple[int, ...], expected: str) -> None:
    assert code_type(sizes) == expected


def test_float16_rows_of_a_file_are_encoded_as_they_are(tmp_path: Path) -> None:
    codec = _fit(BLOBS.train, BLOBS.test, quantizer="dvq", slices=3, codebook_size=16, steps=20).codec
    np.save(tmp_path / "rows.npy", BLOBS.test.astype(np.float16))
    rows: Any = np.load(tmp_path / "rows.npy", mmap_mode="r")
    in_float32 = BLOBS.test.astype(np.float16).astype(np.float32)
    assert (codec.encode(rows) == codec.encode(in_float32)).all()


def test_encoding_takes_no_more_memory_than_a_block_besides_the_codes() -> None:
    codec = CodebookCodec(stream(0, "codes").normal(size=(2, 16, 32)).astype(np.float32))
    vectors: Any = np.zeros((1_000_000, 64), np.float16)
    compiled.evaluate(codec.codebooks, np.zeros((1, 64), np.float32))
    tracemalloc.start()
    codes = codec.encode(vectors)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert codes.nbytes == 2_000_000
    assert peak < 90e6, "a block of 64 MiB, its codes and the codes of all: the vectors are 256 MB in float32"


def test_a_fit_encodes_nothing_before_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Codec, vectors: Vectors) -> None:
        raise AssertionError("encoded")

    monkeypatch.setattr(CodebookCodec, "encode", refuse)
    found = _fit(BLOBS.train, BLOBS.test, quantizer="dvq", slices=3, codebook_size=16, steps=20)
    with pytest.raises(AssertionError, match="encoded"):
        found.codec.encode(BLOBS.test)


def test_a_codec_from_outside_is_exported_under_the_path_of_its_class() -> None:
    codec = ExportedMean(np.arange(3, dtype=np.float32))
    description = described(codec)
    assert description == {"codec": f"{__name__}:ExportedMean"}
    again = codec_from(description, codec.arrays())
    assert isinstance(again, ExportedMean)
    assert again.decode(np.zeros((1, 1), np.uint8)).tolist() == [[0, 1, 2]]


def test_a_codec_without_arrays_works_and_says_that_it_cannot_be_exported() -> None:
    codec = Mean(np.zeros(3, np.float32))
    assert codec.evaluate(np.ones((2, 3), np.float32), (1,))[0] == 1
    with pytest.raises(NotImplementedError, match="Mean cannot be exported: arrays is missing"):
        codec.arrays()

    class Local(ExportedMean):
        pass

    with pytest.raises(ValueError, match=r"Local cannot be exported: nothing finds it by name"):
        described(Local(np.zeros(3, np.float32)))


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({}, "codec = None; allowed: codebooks, faiss, modules, rotated, or package.module:NAME"),
        ({"codec": 3}, "codec = 3"),
        ({"codec": "codebook"}, "did you mean codebooks?"),
        ({"codec": "json:loads"}, "is no subclass of dvq_ray.Codec"),
        ({"codec": "nowhere:Codec"}, "there is no module nowhere"),
        ({"codec": "codebooks"}, "codebooks is missing; allowed: float32"),
        ({"codec": "modules"}, "lacks quantizer and features"),
        ({"codec": "modules", "quantizer": {"quantizer": "vq", "codebook_size": 2}}, "lacks features"),
        (
            {"codec": "modules", "quantizer": {"quantizer": "vq", "codebook_size": 2}, "features": 3},
            "the arrays are not those of vq",
        ),
        ({"codec": "modules", "quantizer": {"quantizer": "vq", "codebook_size": 1}, "features": 3}, "codebook_size"),
    ],
)
def test_descriptions_of_no_codec_are_refused(description: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        codec_from(description, {})


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"codebooks": np.zeros((1, 2, 3))}, r"codebooks is float64 \[1, 2, 3\]; allowed: float32"),
        ({"codebooks": np.zeros((2, 3), np.float32)}, r"codebooks is float32 \[2, 3\]"),
        (
            {"codebooks": np.zeros((1, 2, 3), np.float32), "half_norms": np.zeros((1, 3), np.float32)},
            r"half_norms is float32 \[1, 3\]; allowed: float32 \[1, 2\]",
        ),
    ],
)
def test_arrays_of_no_codebooks_are_refused(arrays: Mapping[str, npt.NDArray[Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        codec_from({"codec": "codebooks"}, arrays)
