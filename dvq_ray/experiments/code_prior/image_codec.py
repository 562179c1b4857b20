"""Images to bytes and back: codes under a prior, then each pixel under the decoder's distribution given the codes.

It shows that bits per dimension are what they say. The bytes of an image:

    bytes 0-3     "dvqi"
    bytes 4-11    of the SHA-256 of both models: the auto-encoder and the prior
    bytes 12-19   of the SHA-256 of what the decoder puts out for the codes
    bytes 20-23   CRC-32 of the pixels
    bytes 24-     32-bit words of the range coder, little-endian: codes, then red, green and blue of all pixels

The prior's probabilities are the same everywhere. Those of pixels come from a network in floating point, which rounds
differently on other processors: an image is then rejected, because its decoder's output has another digest.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from dvq_ray.experiments.code_prior.coding import CodingError, constriction, decode_next, next_codes
from dvq_ray.experiments.code_prior.model import CodePriorModel
from dvq_ray.experiments.learned_prior.likelihood import VALUES
from dvq_ray.experiments.learned_prior.model import AutoencoderModel

MAGIC = b"dvqi"
HEADER_BYTES = 24
Pixels = npt.NDArray[np.uint8]
"""[3, height, width]"""


class ImageCodec:
    """Lossless, with an auto-encoder and a prior over its codes. One thread, one image at a time."""

    def __init__(self, autoencoder: AutoencoderModel, prior: CodePriorModel) -> None:
        self._autoencoder = autoencoder
        self._prior = prior
        network = hashlib.sha256(prior.prior.digest.encode())
        for name, array in sorted(autoencoder.kept.arrays.items()):
            network.update(name.encode() + np.ascontiguousarray(array).tobytes())
        self._models = network.digest()[:8]

    def compress(self, image: Pixels) -> bytes:
        """A file of an image, uint8."""
        stream = constriction()
        encoder = stream.queue.RangeEncoder()
        codes = self._autoencoder.encode(image[None])
        placed = self._prior.arranged(codes)
        for model, where, see in next_codes(stream, self._prior.prior, 1):
            encoder.encode(placed[where].astype(np.int32), *model)
            see(placed[where])
        parameters = self._parameters(codes)
        for colour in range(3):
            table = self._probabilities(parameters, image, colour)
            encoder.encode(image[colour].ravel().astype(np.int32), stream.model.Categorical(perfect=False), table)
        words = encoder.get_compressed().astype("<u4").tobytes()
        header = MAGIC + self._models + _digest(parameters) + zlib.crc32(image.tobytes()).to_bytes(4, "little")
        return bytes(header + words)

    def decompress(self, content: bytes) -> Pixels:
        """The image in a file. Raises `CodingError` where it is damaged, or of other models or another processor."""
        stream = constriction()
        if len(content) < HEADER_BYTES or content[:4] != MAGIC or len(content) % 4:
            raise CodingError("this is not an image of this codec, or it is truncated")
        if content[4:12] != self._models:
            raise CodingError("the image was written with another auto-encoder or another prior")
        decoder = stream.queue.RangeDecoder(np.frombuffer(content[HEADER_BYTES:], "<u4").astype(np.uint32))
        layout = self._prior.layout
        placed = np.zeros((1, layout.positions, layout.codes), np.int64)
        try:
            for model, where, see in next_codes(stream, self._prior.prior, 1):
                placed[where] = decode_next(decoder, model, 1)
                see(placed[where])
            parameters = self._parameters(self._prior.as_kept(placed))
            if _digest(parameters) != content[12:20]:
                raise CodingError(
                    "the decoder puts out other numbers than where the image was written: this processor, or this "
                    "version of torch, rounds differently, or the file is damaged"
                )
            image = np.zeros((3, *parameters.shape[2:]), np.uint8)
            for colour in range(3):
                table = self._probabilities(parameters, image, colour)
                found = decoder.decode(stream.model.Categorical(perfect=False), table)
                image[colour] = found.reshape(image.shape[1:])
        except AssertionError as error:  # what the library raises where the words belong to no symbol
            raise CodingError("the file is damaged: its words are not those of an image") from error
        if zlib.crc32(image.tobytes()) != int.from_bytes(content[20:24], "little"):
            raise CodingError("other pixels were decoded than were written: the file is damaged, or rounding differs")
        return image

    def _parameters(self, codes: npt.NDArray[Any]) -> Tensor:
        """What the decoder puts out: [1, channels, height, width]."""
        return self._autoencoder.parameters(codes)

    def _probabilities(self, parameters: Tensor, image: Pixels, colour: int) -> npt.NDArray[np.float64]:
        """Of a colour of each pixel, given the colours before: [pixels, values]."""
        likelihood = self._autoencoder.network.likelihood
        found = likelihood.conditional(parameters, torch.from_numpy(image[None].copy()), colour)
        table: npt.NDArray[np.float64] = found.reshape(-1, VALUES).contiguous().numpy()
        return table


def _digest(parameters: Tensor) -> bytes:
    return hashlib.sha256(parameters.contiguous().numpy().tobytes()).digest()[:8]


def file_sizes(codec: ImageCodec, images: Sequence[Pixels]) -> Iterator[Mapping[str, int]]:
    """Bytes of each image as written by the codec, which is read back and compared; as PNG; as lossless WebP.

    Raises `CodingError` where other pixels come back.
    """
    for image in images:
        content = codec.compress(image)
        if not np.array_equal(codec.decompress(content), image):
            raise CodingError("other pixels came back than were coded")
        yield {"codec": len(content), "png": picture_bytes(image, "PNG"), "webp": picture_bytes(image, "WEBP")}


def sheet(images: Sequence[Pixels]) -> Pixels:
    """The images beside each other, in one file: a format's header then counts once."""
    return np.concatenate(list(images), axis=2)


def picture_bytes(image: Pixels, kind: str) -> int:
    """Of an image as PNG or lossless WEBP, as small as Pillow writes it."""
    as_png, as_webp = {"optimize": True}, {"lossless": True, "quality": 100, "method": 6}
    options: dict[str, Any] = as_png if kind == "PNG" else as_webp
    content = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(content, format=kind, **options)
    return content.getbuffer().nbytes
