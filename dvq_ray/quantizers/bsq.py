"""BSQ: the signs of a direction (Zhao, Xiong and Krähenbühl, "Image and video tokenization with binary spherical
quantization", arXiv 2406.07548)."""

from __future__ import annotations

from typing import ClassVar

from dvq_ray.quantizers.lfq import Lfq


class Bsq(Lfq):
    """LFQ of channels that are divided by their length: vectors and codes lie on a sphere, which bounds the error.

    The penalty is the paper's, for each channel.
    """

    label: ClassVar[str] = "BSQ"
    sphere: ClassVar[bool] = True


QUANTIZER = Bsq
