"""The fields and metrics of the learned prior that its items name."""

DATA_SET = ("dataset", "image_size")
MODEL = ("quantizer", "dimension", "slices", "joint_codebooks", "joint_positions", "codebook_size")
QUANTIZERS = ("vq", "dvq", "svq")
"""In the order in which they are listed."""

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
SPEED, MEMORY, PARAMETERS = "images_per_second", "peak_memory_bytes", "parameters"
PICTURE = "reconstructions.png"
