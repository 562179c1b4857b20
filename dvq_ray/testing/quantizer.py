"""What every quantizer must do, wherever it is used."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from dvq_ray.fitting.fit import Data, fit
from dvq_ray.fitting.problem import FitResult
from dvq_ray.fitting.settings import GradientSettings, InitialCodes
from dvq_ray.quantizer.base import Quantizer, Vectors, code_type
from dvq_ray.quantizer.codebook import CodebookQuantizer
from dvq_ray.quantizer.codecs import codec_from, described
from dvq_ray.quantizer.registry import QUANTIZERS
from dvq_ray.streams import stream


class QuantizerContract:
    """Tests of one quantizer at some settings. Subclass it, and set what is declared here."""

    quantizer: ClassVar[str]
    """As a sweep file names it."""
    fields: ClassVar[Mapping[str, Any]]
    """Its own fields."""
    features: ClassVar[int] = 8
    """Of the vectors that it quantizes; what it needs of them (slices that divide them) must hold."""
    samples: ClassVar[int] = 512
    finds_nearest: ClassVar[bool] = True
    """Whether a decoded vector is encoded to itself. False where the search for codes is not exact, as one stage after
    the other is not."""
    _result: ClassVar[FitResult]

    def make(self) -> Quantizer:
        """The settings under test."""
        provided = QUANTIZERS.find(self.quantizer)
        variant = provided.value.variant({"decoder", "positions"})
        assert variant is not None, "the quantizer accepts no experiment at all"
        return variant.model_validate({"quantizer": provided.name, **self.fields})

    def vectors(self, seed: int = 0) -> Vectors:
        """Vectors [samples, features] in eight clusters."""
        rng = stream(seed, "vectors of a contract")
        centres = rng.normal(scale=3, size=(8, self.features))
        points = centres[rng.integers(8, size=self.samples)] + rng.normal(scale=0.3, size=(self.samples, self.features))
        return points.astype(np.float32)

    def result(self) -> FitResult:
        """What a fit comes to, which is made once for all tests of a suite."""
        if "_result" not in vars(type(self)):
            type(self)._result = self._fitted()
        return type(self)._result

    def _fitted(self) -> FitResult:
        """What a further fit comes to, by the quantizer's own method or by gradient."""
        settings = self.make()
        if settings.learns_by_gradient():
            start: tuple[type[Any], ...] = (InitialCodes,) if isinstance(settings, CodebookQuantizer) else ()
            trained = type("Trained", (*start, GradientSettings, type(settings)), {})
            settings = trained(**settings.model_dump(), steps=60, batch_size=64, learning_rate=0.1)
        data = Data(seed=0, train=self.vectors(), test=self.vectors()[:64])
        (found,) = fit(settings, [data], "cpu")
        return found

    def test_its_settings_survive_json_and_keep_their_identity(self) -> None:
        settings = self.make()
        again = type(settings).model_validate_json(settings.model_dump_json())
        assert json.dumps(dict(again.identity()), sort_keys=True) == json.dumps(
            dict(settings.identity()), sort_keys=True
        )

    def test_what_it_makes_at_some_bits_has_nearly_as_many(self) -> None:
        settings = self.make()
        for bits in (4, 8, 12, 32, 64):
            own = type(settings).at_bits(bits, 64)
            if own is not None:
                made = type(settings).model_validate({"quantizer": settings.quantizer, **own})
                assert 0.9 * bits <= made.bits() <= bits

    def test_its_rate_is_that_of_its_codebooks(self) -> None:
        settings = self.make()
        sizes = settings.codebook_sizes()
        assert all(isinstance(size, int) and size >= 1 for size in sizes)
        if settings.positionwise:
            assert math.isclose(settings.bits(), sum(math.log2(size) for size in sizes))
            assert math.isclose(settings.bits(7), 7 * settings.bits())

    def test_it_has_a_label_and_counts_its_parameters(self) -> None:
        settings = self.make()
        assert type(settings).label, "figures would show the name of its module"
        assert settings.parameters(self.features) >= 0
        assert settings.products(self.features) >= 0

    def test_codes_are_within_their_codebooks_and_every_vector_has_one_in_each(self) -> None:
        settings = self.make()
        if not settings.positionwise:
            return
        counts = self.result().code_counts
        assert [len(count) for count in counts] == list(settings.codebook_sizes())
        assert all(count.sum() == self.samples for count in counts)

    def test_learning_lowers_the_error(self) -> None:
        if not self.make().positionwise or not self.make().parameters(self.features):
            return
        found = self.result()
        variance = float(np.square(self.vectors() - self.vectors().mean(0)).mean())
        assert found.diverged_at_step is None
        assert found.train_mse < variance, "worse than predicting the mean"
        if len(found.curve_test_mse) > 1:
            assert found.curve_test_mse[-1] < found.curve_test_mse[0]

    def test_the_same_seed_gives_the_same_bytes(self) -> None:
        if not self.make().positionwise:
            return
        first, second = self.result(), self._fitted()
        assert first.test_mse == second.test_mse
        assert first.train_mse == second.train_mse
        assert all((a == b).all() for a, b in zip(first.code_counts, second.code_counts, strict=True))

    def test_a_module_gives_codes_and_decodes_them_to_its_latents(self) -> None:
        settings = self.make()
        if settings.learns_by_gradient():
            self._check_module(settings)

    def test_a_codec_gives_the_errors_and_the_counts_of_its_fit_again(self) -> None:
        if not self.make().positionwise:
            return
        found, sizes = self.result(), self.make().codebook_sizes()
        train_mse, counts = found.codec.evaluate(self.vectors(), sizes)
        test_mse, _ = found.codec.evaluate(self.vectors()[:64], sizes)
        assert (train_mse, test_mse) == (found.train_mse, found.test_mse)
        assert all((a == b).all() for a, b in zip(counts, found.code_counts, strict=True))

    def test_decoded_codes_have_the_error_of_the_fit(self) -> None:
        if not self.make().positionwise:
            return
        found, vectors, sizes = self.result(), self.vectors(), self.make().codebook_sizes()
        codes = found.codec.encode(vectors)
        assert codes.shape == (self.samples, len(sizes))
        assert codes.dtype == code_type(sizes), "the smallest unsigned type that holds them"
        for count, size, column in zip(found.code_counts, sizes, codes.T, strict=True):
            assert (count == np.bincount(column, minlength=size)).all(), "codes beyond the codebook, or other ones"
        decoded = found.codec.decode(codes)
        assert decoded.shape == vectors.shape
        assert decoded.dtype == np.float32
        error = float(np.square(vectors - decoded, dtype=np.float64).mean())
        assert math.isclose(error, found.train_mse, rel_tol=1e-4)

    def test_a_decoded_vector_follows_from_its_code_alone(self) -> None:
        if not self.make().positionwise:
            return
        codec = self.result().codec
        codes = codec.encode(self.vectors())
        decoded = codec.decode(codes)
        order = stream(0, "order of a contract").permutation(len(codes))
        message = "it depends on what was encoded before, or on the vectors beside it"
        np.testing.assert_allclose(codec.decode(codes[order]), decoded[order], rtol=1e-5, atol=1e-5, err_msg=message)
        again = codec_from(described(codec), codec.arrays())
        np.testing.assert_allclose(again.decode(codes), decoded, rtol=1e-5, atol=1e-5, err_msg=message)

    def test_a_decoded_vector_is_encoded_to_itself(self) -> None:
        if not self.make().positionwise or not self.finds_nearest:
            return
        codec = self.result().codec
        decoded = codec.decode(codec.encode(self.vectors()))
        np.testing.assert_allclose(codec.decode(codec.encode(decoded)), decoded, rtol=1e-5, atol=1e-5)

    def test_an_exported_codec_is_the_same_without_pickle(self) -> None:
        if not self.make().positionwise:
            return
        codec, vectors = self.result().codec, self.vectors()
        written = io.BytesIO()
        np.savez(written, allow_pickle=False, **codec.arrays())
        written.seek(0)
        with np.load(written, allow_pickle=False) as arrays:
            again = codec_from(json.loads(json.dumps(described(codec), allow_nan=False)), dict(arrays))
        assert type(again) is type(codec)
        codes = codec.encode(vectors)
        assert (again.encode(vectors) == codes).all()
        assert (again.decode(codes) == codec.decode(codes)).all()
        sizes = self.make().codebook_sizes()
        assert again.evaluate(vectors, sizes)[0] == codec.evaluate(vectors, sizes)[0]

    def test_no_vectors_have_no_codes(self) -> None:
        if not self.make().positionwise:
            return
        codec, sizes = self.result().codec, self.make().codebook_sizes()
        codes = codec.encode(self.vectors()[:0])
        assert codes.shape == (0, len(sizes))
        assert codec.decode(codes).shape == (0, self.features)

    def test_gradients_reach_the_codes_and_go_straight_through_to_the_latents(self) -> None:
        settings = self.make()
        if not settings.learns_by_gradient():
            return
        import torch

        module = settings.build(self.features, torch.Generator().manual_seed(0))
        latents = torch.randn(2, self.features, 8, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
        quantized = module(latents)
        learned = [parameter for parameter in module.parameters() if parameter.requires_grad]
        if learned:
            quantized.codebook_loss.backward(retain_graph=True)
            assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in learned)
            assert latents.grad is None or not latents.grad.any(), "the codebook loss must not move the latents"
        (gradient,) = torch.autograd.grad(quantized.latents.sum(), latents)
        assert gradient.any(), "the decoder's gradient does not reach the encoder"

    def test_gradients_are_finite_where_vectors_are_alike_zero_or_far_away(self) -> None:
        settings = self.make()
        if not settings.learns_by_gradient():
            return
        import torch

        drawn = torch.randn(2, self.features, 8, 8, generator=torch.Generator().manual_seed(1))
        alike = drawn[:1, :, :1, :1].expand_as(drawn)
        kinds = {"alike": alike, "zero": 0 * drawn, "far away": 1000 * drawn, "near 0": drawn / 1e6}
        for name, vectors in kinds.items():
            module = settings.build(self.features, torch.Generator().manual_seed(0))
            latents = vectors.clone().requires_grad_()
            quantized = module(latents)
            loss = quantized.latents.square().mean() + quantized.codebook_loss + quantized.commitment_loss
            loss.backward()
            found = {"latents": latents, **dict(module.named_parameters())}
            broken = [of for of, each in found.items() if each.grad is not None and not each.grad.isfinite().all()]
            assert not broken, f"gradients of {', '.join(broken)} where vectors are {name}"

    def _check_module(self, settings: Quantizer) -> None:
        import torch

        module = settings.build(self.features, torch.Generator().manual_seed(0))
        latents = torch.randn(3, self.features, 8, 8, generator=torch.Generator().manual_seed(1))
        quantized = module(latents)
        sizes = settings.codebook_sizes()
        assert quantized.latents.shape == (3, settings.out_features(self.features), 8, 8)
        assert quantized.indices.shape[:2] == (3, len(sizes))
        assert not quantized.indices.is_floating_point()
        for size, column in zip(sizes, quantized.indices.unbind(1), strict=True):
            assert column.min() >= 0
            assert column.max() < size
        torch.testing.assert_close(module.decode(quantized.indices, (8, 8)), quantized.latents, rtol=1e-4, atol=1e-5)
        assert module.code_parameters() == settings.parameters(self.features)
