"""Quantizers of the rows of files: users' own vectors."""

from dvq_ray.experiment.data_sets import DataSets
from dvq_ray.experiment.experiment import Experiment
from dvq_ray.experiments.vectors import sources
from dvq_ray.experiments.vectors.settings import VectorCurve, VectorMetrics, fields_for
from dvq_ray.models.files import FILES as MODEL_FILES
from dvq_ray.quantizer import kept_codes

EXPERIMENT = Experiment(
    name="vectors",
    label="vectors",
    revision=1,
    fields_for=fields_for,
    metrics=VectorMetrics,
    main_metric="test_mse",
    curve=VectorCurve,
    run="dvq_ray.experiments.vectors.run:run",
    batches_on_gpu=True,
    depends_on_processor=True,
    data_sets=DataSets(
        field="dataset",
        built_in=sources.BUILT_IN,
        sources=sources.SOURCES,
        problems_path="dvq_ray.experiments.vectors.problems:problems",
        digest_column="data_sha256",
    ),
    usual_quantizer="dvq",
    comparison="dvq_ray.experiments.vectors.comparison:COMPARISON",
    keeps={"codes": (kept_codes.FILE,), "model": MODEL_FILES},
    model="dvq_ray.experiments.vectors.model:VectorModel",
    seeds_by=("dataset", "rows", "normalise"),
)
