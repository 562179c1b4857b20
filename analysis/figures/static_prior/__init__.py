"""The paper's section 4.1: quantizers of Gaussian blobs with a known number of factors."""
