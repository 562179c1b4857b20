"""Learned priors over the codes that cells of another store kept: what codes really cost."""

from dvq_ray.experiment.data_sets import DataSets
from dvq_ray.experiment.experiment import Experiment
from dvq_ray.experiment.parents import Parents
from dvq_ray.experiments.code_prior.settings import CodePriorCurve, CodePriorMetrics, fields_for
from dvq_ray.models.files import FILES as MODEL_FILES

NAME = "code_prior"

EXPERIMENT = Experiment(
    name=NAME,
    label="code prior",
    revision=1,
    fields_for=fields_for,
    provides=frozenset({"positions", "decoder"}),
    metrics=CodePriorMetrics,
    main_metric="code_bits_per_sample",
    curve=CodePriorCurve,
    run="dvq_ray.experiments.code_prior.run:run",
    depends_on_processor=True,
    logs_curve=False,
    data_sets=DataSets(
        field="parent_point_id",
        built_in={},
        sources=(),
        problems_path="dvq_ray.experiments.code_prior.parents:problems",
    ),
    parents=Parents(key="codes_of", selection="of", open_path="dvq_ray.experiments.code_prior.parents:StoreOfCodes"),
    keeps={"model": MODEL_FILES},
    model="dvq_ray.experiments.code_prior.model:CodePriorModel",
    usual_quantizer="dvq",
    seeds_by=(),
)
