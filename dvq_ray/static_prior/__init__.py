"""Quantizers of a static prior: Gaussian blobs with a known number of factors (paper, section 4.1)."""
