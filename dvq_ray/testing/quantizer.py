"""What every quantizer must do, wherever it is used."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from dvq_ray.fitting.fit import Data, fit
from dvq_ray.fitting.problem import FitResult
from dvq_ray.fitting.settings import GradientSettings, InitialCodes
from dvq_ray.quantizer.base import Codec, Quantizer, Vectors
from dvq_ray.quantizer.codebook import CodebookQuantizer
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

    def result(self, seed: int = 0, steps: int = 60) -> FitResult:
        """What a fit comes to, by its own method or by gradient."""
        settings = self.make()
        if settings.learns_by_gradient():
            start: tuple[type[Any], ...] = (InitialCodes,) if isinstance(settings, CodebookQuantizer) else ()
            trained = type("Trained", (*start, GradientSettings, type(settings)), {})
            settings = trained(**settings.model_dump(), steps=steps, batch_size=64, learning_rate=0.1)
        data = Data(seed=seed, train=self.vectors(), test=self.vectors()[:64])
        (found,) = fit(settings, [data], "cpu")
        return found

    def test_its_settings_survive_json_and_keep_their_identity(self) -> None:
        settings = self.make()
        again = type(settings).model_validate_json(settings.model_dump_json())
        assert json.dumps(dict(again.identity()), sort_keys=True) == json.dumps(
            dict(settings.identity()), sort_keys=True
        )

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
        first, second = self.result(), self.result()
        assert first.test_mse == second.test_mse
        assert first.train_mse == second.train_mse
        assert all((a == b).all() for a, b in zip(first.code_counts, second.code_counts, strict=True))

    def test_decoded_codes_are_what_the_error_is_measured_on(self) -> None:
        settings = self.make()
        if settings.is_fitted():
            self._check_codec(settings.fit(self.vectors(), stream(0, settings.stream)), settings)
        else:
            self._check_module(settings)

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

    def _check_codec(self, codec: Codec, settings: Quantizer) -> None:
        vectors, sizes = self.vectors(), settings.codebook_sizes()
        codes = codec.encode(vectors)
        assert codes.shape == (self.samples, len(sizes))
        assert np.issubdtype(codes.dtype, np.integer)
        assert (codes >= 0).all()
        assert (codes < np.array(sizes)).all()
        decoded = codec.decode(codes)
        assert decoded.shape == vectors.shape
        error, counts = codec.evaluate(vectors, sizes)
        assert math.isclose(error, float(np.square(vectors - decoded, dtype=np.float64).mean()), rel_tol=1e-4)
        for count, size, column in zip(counts, sizes, codes.T, strict=True):
            assert (count == np.bincount(column, minlength=size)).all()

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
