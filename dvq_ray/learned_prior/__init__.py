"""The learned prior (paper, section 4.2): image auto-encoders whose latents are quantized."""
