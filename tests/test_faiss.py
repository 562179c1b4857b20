"""Quantizers that faiss trains, against faiss itself and against what must hold."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from dvq_ray.fitting.codecs.faiss import FaissCodec, code_bits
from dvq_ray.fitting.codecs.rotated import RotatedCodec
from dvq_ray.problems import SweepFileError
from dvq_ray.quantizer import rules
from dvq_ray.quantizer.base import Codec, Vectors
from dvq_ray.quantizer.registry import QUANTIZERS
from dvq_ray.quantizers.opq import dealt_components
from dvq_ray.streams import stream
from dvq_ray.sweep.spec import load_sweep
from tests.sweep_files import write

FEATURES = 8
ALL: Mapping[str, Any] = {"trained_on": "all"}
FITS: Mapping[str, Mapping[str, Any]] = {
    "pq": {"slices": 2, "codebook_size": 16},
    "opq": {"slices": 2, "codebook_size": 16},
    "rvq": {"stages": 2, "codebook_size": 16},
    "grvq": {"slices": 2, "stages": 2, "codebook_size": 4},
    "lsq": {"additive_codebooks": 2, "codebook_size": 16},
    "faiss": {"factory_string": "OPQ2,PQ2x4", "features": FEATURES},
}


def vectors(samples: int = 2000, seed: int = 0) -> Vectors:
    """Vectors [samples, FEATURES] whose features depend on each other, of both halves alike."""
    rng = stream(seed, "vectors")
    mixing = rng.normal(size=(FEATURES, FEATURES)) * np.linspace(2, 0.2, FEATURES)
    return (rng.normal(size=(samples, FEATURES)) @ mixing.T).astype(np.float32)


def fit(quantizer: str, train: Vectors, seed: int = 0, **fields: Any) -> Codec:
    settings = QUANTIZERS.find(quantizer).value.model_validate({"quantizer": quantizer, **FITS[quantizer], **fields})
    return settings.fit(train, stream(seed, "fit"))


def error(codec: Codec, of: Vectors) -> float:
    return float(np.square(of - codec.decode(codec.encode(of)), dtype=np.float64).mean())


def digest(codec: Codec) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in codec.arrays().values())).hexdigest()


@pytest.fixture(scope="module")
def elsewhere() -> dict[str, list[str]]:
    """By quantizer, the digests of two equal fits in a fresh process."""
    code = (
        "import json; from tests.test_faiss import FITS, digest, fit, vectors; "
        "print(json.dumps({name: [digest(fit(name, vectors())) for _ in range(2)] for name in FITS}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.long
@pytest.mark.parametrize("quantizer", FITS)
def test_the_same_cell_gives_the_same_bytes_in_a_fresh_process_too(
    quantizer: str, elsewhere: dict[str, list[str]]
) -> None:
    faiss.omp_set_num_threads(2)
    assert elsewhere[quantizer] == [digest(fit(quantizer, vectors()))] * 2
    assert faiss.omp_get_max_threads() == 2, "what it was before"


@pytest.mark.long
@pytest.mark.parametrize("quantizer", FITS)
def test_another_seed_starts_elsewhere(quantizer: str) -> None:
    assert digest(fit(quantizer, vectors())) != digest(fit(quantizer, vectors(), seed=1))


@pytest.mark.long
@pytest.mark.parametrize(
    ("quantizer", "twin"),
    [
        ("pq", "PQ2x4"), ("opq", "OPQ2,PQ2x8"), ("rvq", "RQ2x4"), ("grvq", "PRQ2x2x2"), ("lsq", "LSQ2x4"),
    ],
)  # fmt: skip
def test_each_ties_with_what_faiss_makes_of_its_factory_string(quantizer: str, twin: str) -> None:
    """With at most 256 vectors for each code, so that faiss takes all; its rotations are always for 256 codes."""
    train, test = vectors(1000), vectors(4000)[1000:]
    more: Mapping[str, Any] = {"opq": {"codebook_size": 256}, "rvq": ALL, "grvq": ALL}.get(quantizer, {})
    errors = np.array(
        [[error(fit(quantizer, train, seed, **more), test), _twin(twin, train, seed, test)] for seed in range(8)]
    )
    difference = errors[:, 0] - errors[:, 1]
    if quantizer == "opq":  # all rotations of faiss start at the same one
        assert abs(difference.mean()) < 3 * errors[:, 0].std(ddof=1)
    else:
        assert abs(difference.mean()) <= 3 * difference.std(ddof=1) / np.sqrt(8) + 1e-6, errors
        assert abs(difference.mean()) < 0.03 * errors.mean()


def _twin(factory: str, train: Vectors, seed: int, test: Vectors) -> float:
    return error(fit("faiss", train, seed, factory_string=factory), test)


def test_pq_ends_at_means_of_the_vectors_that_are_nearest() -> None:
    train = vectors()
    codec = fit("pq", train, codebook_size=4)
    codes, codebooks = codec.encode(train), codec.arrays()["codebooks"]
    for place, part in enumerate(np.split(train, 2, axis=1)):
        for code in range(4):
            mean = part[codes[:, place] == code].mean(0)
            np.testing.assert_allclose(codebooks[place, code], mean, atol=0.05 * part.std())


def test_pq_is_as_good_as_k_means_of_scikit_learn() -> None:
    train = vectors()
    other = QUANTIZERS.find("kmeans").value.model_validate(
        {"quantizer": "kmeans", "slices": 2, "codebook_size": 16, "restarts": 10}
    )
    best = error(other.fit(train, stream(0, "fit")), train)
    assert error(fit("pq", train, restarts=10), train) == pytest.approx(best, rel=0.02)
    assert error(fit("pq", train, restarts=10), train) <= error(fit("pq", train), train)


def test_the_rotation_of_opq_is_one() -> None:
    codec = fit("opq", vectors())
    assert isinstance(codec, RotatedCodec)
    np.testing.assert_allclose(codec.rotation @ codec.rotation.T, np.eye(FEATURES), atol=1e-4)


def test_opq_does_not_care_how_vectors_are_rotated_and_pq_does() -> None:
    """Features [1, 1, 1, 1, 0...] of unequal variance: one slice has all of it until it is rotated."""
    rng = stream(0, "rotated")
    plain = (rng.normal(size=(4000, FEATURES)) * np.array([4, 3, 2, 1, 0.1, 0.1, 0.1, 0.1])).astype(np.float32)
    rotation, _ = np.linalg.qr(rng.normal(size=(FEATURES, FEATURES)))
    turned = (plain @ rotation).astype(np.float32)
    mean = {
        (name, at): np.mean([error(fit(name, train, seed), train) for seed in range(4)])
        for name in ("pq", "opq")
        for at, train in (("plain", plain), ("turned", turned))
    }
    assert mean["opq", "turned"] == pytest.approx(mean["opq", "plain"], rel=0.03)
    assert abs(mean["pq", "turned"] / mean["pq", "plain"] - 1) > 0.1
    assert mean["opq", "plain"] < 0.8 * mean["pq", "plain"]


def test_components_are_dealt_out_so_that_slices_have_equal_products_of_variances() -> None:
    """Of variances 0.8, 0.4, 0.2 and 0.1 one slice gets the first and the last, as the paper's rule has it."""
    rng = stream(0, "components")
    turn, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    train = (rng.normal(size=(50_000, 4)) * np.sqrt([0.1, 0.8, 0.2, 0.4]) @ turn).astype(np.float32)
    dealt = dealt_components(train, 2)
    np.testing.assert_allclose(dealt @ dealt.T, np.eye(4), atol=1e-6)
    variances = (train @ dealt.T).var(axis=0).reshape(2, 2)
    np.testing.assert_allclose(variances, [[0.8, 0.1], [0.4, 0.2]], rtol=0.03)


@pytest.mark.parametrize("spread", [1e-12, 1.0, 1e12])
def test_components_of_any_size_and_of_features_that_do_not_vary_are_dealt_out(spread: float) -> None:
    train = np.zeros((100, 6), np.float32)
    train[:, :2] = spread * stream(0, "components").normal(size=(100, 2))
    dealt = dealt_components(train, 3)
    np.testing.assert_allclose(dealt @ dealt.T, np.eye(6), atol=1e-6)
    holds_some = np.abs(dealt.reshape(3, 2, 6)[..., :2]).max(axis=(1, 2)) > 0.5
    assert holds_some.sum() == 2, "each of the two features that vary in a slice of its own"


def test_the_best_start_of_a_rotation_is_no_worse_than_the_starts_that_it_tries() -> None:
    """Features in an order that suits PQ, and the same ones rotated, of which PQ knows nothing."""
    rng = stream(0, "rotated")
    centres = rng.normal(size=(2, 16, FEATURES // 2)) * 4
    picked = [part[rng.integers(16, size=3000)] for part in centres]
    plain = (np.concatenate(picked, axis=1) + rng.normal(size=(3000, FEATURES))).astype(np.float32)
    turn, _ = np.linalg.qr(rng.normal(size=(FEATURES, FEATURES)))
    for train in (plain, (plain @ turn).astype(np.float32)):
        found = {
            start: error(fit("opq", train, rotation_start=start, rotation_rounds=5), train)
            for start in ("components", "features", "best")
        }
        assert found["best"] <= 1.02 * min(found["components"], found["features"])  # each draws an order of its own
    as_they_are = fit("opq", plain, rotation_start="features", rotation_rounds=1, restarts=5)
    assert error(as_they_are, plain) < 1.03 * error(fit("pq", plain, restarts=5), plain)


def test_each_stage_of_rvq_lowers_the_error_and_so_does_a_wider_beam() -> None:
    train = vectors()
    by_stages = [error(fit("rvq", train, stages=stages), train) for stages in (1, 2, 3, 4)]
    assert by_stages == sorted(by_stages, reverse=True)
    assert by_stages[3] < 0.5 * by_stages[0]
    assert error(fit("rvq", train, stages=4, beam=8), train) < error(fit("rvq", train, stages=4, beam=1), train)


def test_in_clusters_training_on_all_candidates_of_a_beam_loses_what_the_beam_wins() -> None:
    rng = stream(0, "clusters")
    train = (10 * rng.normal(size=(16, FEATURES))[rng.integers(16, size=2000)]).astype(np.float32)
    train += rng.normal(size=train.shape).astype(np.float32)
    best, every, narrow = (
        error(fit("rvq", train, **more), train) for more in ({"trained_on": "best"}, ALL, {"beam": 1})
    )
    assert best <= narrow * 1.001
    assert every > 1.2 * best


def test_a_beam_of_one_takes_the_nearest_code_of_each_stage() -> None:
    train = vectors(500)
    codec = fit("rvq", train, beam=1)
    assert isinstance(codec, FaissCodec)
    index: Any = codec.index
    codebooks = faiss.vector_to_array(index.rq.codebooks).reshape(2, 16, FEATURES)
    rest, expected = train.astype(np.float64), []
    for codebook in codebooks:
        expected.append(np.square(rest[:, None] - codebook).sum(-1).argmin(1))
        rest = rest - codebook[expected[-1]]
    codes = codec.encode(train)
    assert (codes == np.stack(expected, axis=1)).mean() > 0.999
    np.testing.assert_allclose(codec.decode(codes), train - rest, atol=0.02 * train.std())


def test_lsq_finds_lower_errors_than_one_stage_after_the_other() -> None:
    train = stream(0, "no structure").normal(size=(2000, FEATURES)).astype(np.float32)
    found = error(fit("lsq", train, additive_codebooks=4), train)
    assert found < 0.97 * error(fit("rvq", train, stages=4, beam=1), train)


def test_one_slice_of_grvq_is_rvq_and_one_stage_of_it_is_pq() -> None:
    train = vectors(1000)
    one_slice = error(fit("grvq", train, slices=1, stages=2, codebook_size=16), train)
    assert one_slice == pytest.approx(error(fit("rvq", train), train), rel=1e-5)
    one_stage = error(fit("grvq", train, slices=2, stages=1, codebook_size=16), train)
    assert one_stage == pytest.approx(error(fit("pq", train), train), rel=0.05)


@pytest.mark.parametrize(
    ("factory", "bits"),
    [
        ("PQ2x4", [4, 4]), ("OPQ2,PQ2x4", [4, 4]), ("PQ4x10", [10] * 4), ("RQ3x5", [5] * 3), ("LSQ2x8", [8, 8]),
        ("RQ2x4_Nqint8", [4, 4, 8]), ("PRQ2x2x3", [3] * 4), ("SQ4", [8] * 4), ("SQ8", [8] * 8), ("RaBitQ", [8] * 9),
        ("IVF4,PQ2x8", [8] * 3),
    ],
)  # fmt: skip
def test_codes_cost_what_faiss_stores_without_padding(factory: str, bits: list[int]) -> None:
    index = faiss.index_factory(FEATURES, factory)
    assert code_bits(index) == bits
    assert (sum(bits) + 7) // 8 == index.sa_code_size()


@pytest.mark.long
@pytest.mark.parametrize("factory", ["PQ2x4", "OPQ2,PQ2x4", "RQ3x4", "PRQ2x2x3", "LSQ2x4"])
def test_numbers_are_those_of_the_trained_codebooks_and_rotations(factory: str) -> None:
    swig: Any = faiss
    index = swig.index_factory(FEATURES, factory)
    index.train(vectors(300))
    inner = swig.downcast_index(index.index) if "," in factory else index
    quantizer: Any = next(getattr(inner, name) for name in ("pq", "rq", "prq", "lsq") if hasattr(inner, name))
    parts = [quantizer]
    if hasattr(quantizer, "nsplits"):
        parts = [swig.downcast_AdditiveQuantizer(quantizer.subquantizer(i)) for i in range(quantizer.nsplits)]
    held = sum((part.centroids if hasattr(part, "centroids") else part.codebooks).size() for part in parts)
    settings = QUANTIZERS.find("faiss").value.model_validate(
        {"quantizer": "faiss", "factory_string": factory, "features": FEATURES}
    )
    assert settings.parameters(FEATURES) == held + ("OPQ" in factory) * FEATURES**2


BLOBS = "name: x\ntrainable: static_prior\nseeds: 1\nfixed: {dimension: 8, factors: 16}\n"


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (
            "quantizer: faiss, factory_string: HNSW8, features: 8",
            "has no codec for 8 features (faiss: standalone",
        ),
        (
            "quantizer: faiss, factory_string: PQ3x4, features: 8",
            "The dimension of the vector (d) should be",
        ),
        ("quantizer: faiss, factory_string: nonsense, features: 8", "could not parse index string nonsense"),
        ("quantizer: faiss, factory_string: 'ITQ4,LSH', features: 8", "reverse transform not implemented"),
        ("quantizer: faiss, factory_string: PQ2x4, features: 9", "found 9, which is not dimension = 8; allowed: 8"),
        ("quantizer: pq, codebook_size: 12, slices: 2", "found 12, which is no power of 2 up to 65536"),
        ("quantizer: opq, codebook_size: 16, slices: 3", "found 3, which does not divide dimension = 8"),
        ("quantizer: grvq, codebook_size: 16, slices: 3, stages: 2", "found 3, which does not divide dimension = 8"),
        ("quantizer: rvq, codebook_size: 64, stages: 2, train_samples: 10", "larger than train_samples = 10"),
    ],
)
def test_what_faiss_cannot_train_is_an_error_before_anything_starts(tmp_path: Path, grid: str, message: str) -> None:
    with pytest.raises(SweepFileError) as raised:
        load_sweep(write(tmp_path, f"{BLOBS}grids: {{a: {{{grid}}}}}\n"))
    assert message in str(raised.value)


@pytest.mark.parametrize("quantizer", FITS)
def test_without_faiss_the_sweep_says_what_to_install(
    quantizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "find_spec", lambda name: None)
    fields = ", ".join(f'{key}: "{value}"' if isinstance(value, str) else f"{key}: {value}"
                       for key, value in {"quantizer": quantizer, **FITS[quantizer]}.items())  # fmt: skip
    with pytest.raises(SweepFileError) as raised:
        load_sweep(write(tmp_path, f"{BLOBS}grids: {{a: {{{fields}}}}}\n"))
    assert "needs the package faiss; install it: pip install 'dvq_ray[faiss]'" in str(raised.value)
    assert len(str(raised.value).splitlines()) <= 2


def test_faiss_is_imported_only_where_it_is_used() -> None:
    code = (
        "import sys, dvq_ray.cli.sweep, dvq_ray.fitting.fit; from dvq_ray.experiment.registry import find_experiment; "
        "[find_experiment('static_prior').variant(name) for name in find_experiment('static_prior').quantizers]; "
        "assert 'faiss' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_vectors_that_do_not_fit_are_refused_by_the_fit() -> None:
    with pytest.raises(ValueError, match="features = 8 is not dimension = 6; allowed: 6"):
        fit("faiss", vectors()[:, :6])
    with pytest.raises(ValueError, match=r"faiss: Number of training points \(8\) should be at least"):
        fit("pq", vectors(8))


def test_a_transform_that_cannot_be_undone_is_refused_by_the_fit() -> None:
    with pytest.raises(ValueError, match="faiss: "):
        fit("faiss", vectors(), factory_string="PCAW4,PQ2x4")


def test_bytes_of_no_index_are_refused() -> None:
    with pytest.raises(ValueError, match="faiss: "):
        FaissCodec.rebuilt({}, {"index": np.zeros(100, np.uint8)})
    with pytest.raises(ValueError, match="index is missing; allowed: uint8"):
        FaissCodec.rebuilt({}, {})
