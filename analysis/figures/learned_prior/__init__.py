"""The paper's section 4.2: auto-encoders of images whose latents are quantized."""
