"""Image auto-encoders whose latents are quantized (paper, section 4.2)."""

from dvq_ray.experiment.data_sets import DataSets
from dvq_ray.experiment.experiment import Experiment
from dvq_ray.experiments.learned_prior import kept_latents, sources
from dvq_ray.experiments.learned_prior.settings import LearnedPriorCurve, LearnedPriorMetrics, fields_for
from dvq_ray.models.files import FILES as MODEL_FILES
from dvq_ray.quantizer import kept_codes

EXPERIMENT = Experiment(
    name="learned_prior",
    label="learned prior",
    revision=1,
    fields_for=fields_for,
    provides=frozenset({"positions", "decoder"}),
    metrics=LearnedPriorMetrics,
    main_metric="reconstruction_bits_per_dim",
    curve=LearnedPriorCurve,
    run="dvq_ray.experiments.learned_prior.run:run",
    depends_on_processor=True,
    data_sets=DataSets(
        field="dataset",
        built_in=sources.BUILT_IN,
        sources=sources.SOURCES,
        problems_path="dvq_ray.experiments.learned_prior.images:problems",
        digest_column="data_sha256",
    ),
    watched={
        "reconstruction_bits_per_dim": "reconstruction_bits_per_dim",
        "mse": "mse",
        "total_bits_per_dim_uniform": "total_bits_per_dim_uniform",
        "total_bits_per_dim_unigram": "total_bits_per_dim_uniform",
    },
    steps_field="steps",
    usual_quantizer="dvq",
    seeds_by=("dataset", "image_size"),
    keeps={
        "codes": (kept_codes.FILE,),
        "latents": (kept_latents.TRAIN, kept_latents.TEST),
        "model": MODEL_FILES,
    },
    model="dvq_ray.experiments.learned_prior.model:AutoencoderModel",
    elapsed_column="training_seconds",
)
