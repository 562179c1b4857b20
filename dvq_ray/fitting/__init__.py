"""Fitting a quantizer to vectors that do not change: by its own method, or by gradient (paper, section 4.1)."""
