"""Quantizers of Gaussian blobs whose number is known (paper, section 4.1)."""

from dvq_ray.experiment.experiment import Experiment
from dvq_ray.experiments.static_prior.settings import StaticPriorCurve, StaticPriorMetrics, fields_for

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
    seeds_by=("factors",),
)
