"""Quantizers of Gaussian blobs whose number is known (paper, section 4.1)."""

from dvq_ray.experiment.experiment import Experiment
from dvq_ray.experiments.static_prior.settings import StaticPriorCurve, StaticPriorMetrics, fields_for
from dvq_ray.models.files import FILES as MODEL_FILES
from dvq_ray.quantizer import kept_codes

EXPERIMENT = Experiment(
    name="static_prior",
    label="static prior",
    revision=1,
    fields_for=fields_for,
    metrics=StaticPriorMetrics,
    main_metric="test_mse",
    curve=StaticPriorCurve,
    run="dvq_ray.experiments.static_prior.run:run",
    batches_on_gpu=True,
    usual_quantizer="dvq",
    keeps={"codes": (kept_codes.FILE,), "model": MODEL_FILES},
    model="dvq_ray.models.codec_model:CodecModel",
    seeds_by=("factors",),
)
