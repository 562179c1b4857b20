"""What the analysis knows of the built-in experiments: their fields, metrics, quantizers and data sets.

This module is to go: fields, metrics and quantizers are to declare all of this themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

QUANTIZERS: Mapping[str, str] = {"vq": "VQ", "dvq": "DVQ", "svq": "SVQ", "kmeans": "k-means"}
"""Names of the quantizers, in the order in which they are listed."""
DATA_SETS = {"photos": "Photographs", "cifar10": "CIFAR-10", "imagenet32": "ImageNet", "imagenet64": "ImageNet"}
DATA_DIGEST = "data_sha256"

STATIC_TRAINING = (
    "learning_rate", "schedule", "steps", "batch_size", "train_samples", "restarts", "max_iterations", "revision",
)  # fmt: skip
"""Settings of the static prior that the axes of its figures leave open."""
DATA_SET = ("dataset", "image_size")
MODEL = ("quantizer", "dimension", "slices", "joint_codebooks", "joint_positions", "codebook_size")
LEARNED_TRAINING = (
    "downsamplings", "stem_channels", "body_channels", "residual_channels", "residual_blocks", "logistic_mixtures",
    "codebook_start", "ema_decay", "restart_below", "commitment_weight", "learning_rate", "batch_size", "steps",
    "revision",
)  # fmt: skip
"""Settings of the learned prior that are neither the model's nor the data set's."""
RAN_ON = ("run_device", "run_versions")
"""What the cost of a cell depends on and its result does not."""

SETTINGS: Mapping[str, tuple[str, ...]] = {
    "static_prior": (
        "quantizer", "dimension", "factors", "codebook_size", "slices", "init_bound", "learning_rate", "schedule",
        "steps", "batch_size", "start", "restarts", "max_iterations", "revision",
    ),
    "factorial_prior": (
        "quantizer", "dimension", "groups", "centres", "dependence", "codebook_size", "slices", "init_bound",
        "learning_rate", "schedule", "steps", "batch_size", "start", "restarts", "max_iterations", "train_samples",
        "revision",
    ),
    "learned_prior": (*DATA_SET, *MODEL, *LEARNED_TRAINING),
}  # fmt: skip
"""Columns that tell points apart, by trainable. Points that are compared differ in no other than a claim says.

The training samples of the static prior follow from the factors and are not among them.
"""
SEEDS_BY: Mapping[str, tuple[str, ...]] = {
    "static_prior": ("factors",),
    "factorial_prior": ("groups", "centres", "dependence"),
    "learned_prior": DATA_SET,
}
"""Points of a comparison with equal values here must have the same seeds."""

RECONSTRUCTION = "reconstruction_bits_per_dim"
TRAIN_RECONSTRUCTION = "train_reconstruction_bits_per_dim"
UNIFORM_CODES, UNIGRAM_CODES = "code_bits_per_dim_uniform", "code_bits_per_dim_unigram"
UNIFORM_TOTAL, UNIGRAM_TOTAL = "total_bits_per_dim_uniform", "total_bits_per_dim_unigram"
PSNR = "psnr_db"
CODES_USED, PERPLEXITY = "codes_used", "perplexity"
"""Lists, an entry for each codebook."""
DEPENDENCE, JOINT_ENTROPY = "slice_dependence_bits", "joint_code_entropy_bits"
REFIT_DEPENDENCE, SHUFFLED_DEPENDENCE = "slice_dependence_bits_refit", "slice_dependence_bits_shuffled"
"""Empty where features are not cut into slices."""
SPEED, DURATION, MEMORY = "images_per_second", "duration_seconds", "peak_memory_bytes"
PARAMETERS = "parameters"
PICTURE = "reconstructions.png"

METRICS: Mapping[str, str] = {
    "test_mse": "test loss (mean squared error per dimension)",
    "bits_per_vector": "bits of a vector's code",
    RECONSTRUCTION: "reconstruction of test images (bits/dim)",
    UNIGRAM_TOTAL: "reconstruction + codes, unigram prior (bits/dim)",
    UNIFORM_TOTAL: "reconstruction + codes, uniform prior (bits/dim)",
    UNIGRAM_CODES: "codes, unigram prior (bits/dim)",
    UNIFORM_CODES: "codes, uniform prior (bits/dim)",
    PSNR: "peak signal-to-noise ratio (dB)",
    DURATION: "duration of a cell (seconds)",
}
"""Metrics with their units."""
FIELDS: Mapping[str, str] = {
    "slices": "parts that a vector is cut into, each with a codebook of its own",
    "codebook_size": "codes of a codebook",
    "init_bound": "codes start uniform in plus or minus so much",
    "dimension": "features of a vector",
    "factors": "Gaussian blobs behind the data",
    "learning_rate": "of Adam",
    "steps": "of training",
    "joint_codebooks": "codebooks on the same features",
    "joint_positions": "positions that a code stands for",
}
"""What the fields of a search mean."""
