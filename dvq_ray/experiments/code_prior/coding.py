"""Codes to bytes and back, with a prior's probabilities.

A range coder of the library constriction (Bamler, "Understanding entropy coding with asymmetric numeral systems (ANS)",
arXiv 2201.01741) writes the codes in their order, those of a block of samples side by side. It rounds each
distribution to multiples of 2^-24, so a code costs what the prior says, and about 2^-24 / probability more.

    bytes 0-7     "dvqcode1"
    bytes 8-15    samples, little-endian
    bytes 16-47   SHA-256 of the prior: its kind, its layout, its numbers
    bytes 48-79   SHA-256 of the codes, int64 [N, P, L]
    bytes 80-83   CRC-32 of all other bytes, little-endian
    bytes 84-     32-bit words of the range coder, little-endian

All probabilities are the same bits on every processor (`dvq_ray/experiments/code_prior/prior.py`). Should a decoder
still find others, the digest of the codes says so.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from dvq_ray.experiments.code_prior.layout import Codes
from dvq_ray.experiments.code_prior.prior import FittedPrior, Probabilities, blocks

MAGIC = b"dvqcode1"
HEADER_BYTES = 84


class CodingError(ValueError):
    """Bytes that are not those of codes under this prior; says why."""


def constriction() -> Any:
    """The library. Raises `CodingError` where it is not installed."""
    try:
        import constriction
    except ImportError as error:
        raise CodingError("constriction is not installed; install it with: pip install 'dvq_ray[coding]'") from error
    return constriction.stream


def encoded(prior: FittedPrior, codes: Codes) -> bytes:
    """A file of codes [N, P, L]."""
    stream = constriction()
    encoder = stream.queue.RangeEncoder()
    for model, where, see in next_codes(stream, prior, len(codes)):
        encoder.encode(codes[where].astype(np.int32), *model)
        see(codes[where])
    words = encoder.get_compressed().astype("<u4")
    header = MAGIC + len(codes).to_bytes(8, "little") + bytes.fromhex(prior.digest) + _digest(codes)
    return bytes(header + _check(header, words.tobytes()) + words.tobytes())


def decoded(prior: FittedPrior, content: bytes) -> Codes:
    """The codes [N, P, L] in a file. Raises `CodingError` where it is damaged, or of another prior."""
    stream = constriction()
    if len(content) < HEADER_BYTES or content[:8] != MAGIC or len(content) % 4:
        raise CodingError("this is not a file of codes, or it is truncated")
    if content[16:48] != bytes.fromhex(prior.digest):
        raise CodingError(f"the codes were written with another prior, whose digest is {content[16:48].hex()}")
    if content[80:84] != _check(content[:80], content[HEADER_BYTES:]):
        raise CodingError("the file is damaged: its check sum is another one")
    samples, layout = int.from_bytes(content[8:16], "little"), prior.layout
    words = np.frombuffer(content[HEADER_BYTES:], "<u4").astype(np.uint32)
    codes = np.zeros((samples, layout.positions, layout.codes), np.int64)
    decoder = stream.queue.RangeDecoder(words)
    try:
        for model, where, see in next_codes(stream, prior, samples):
            codes[where] = decode_next(decoder, model, len(codes[where]))
            see(codes[where])
    except AssertionError as error:  # what the library raises where the words belong to no symbol
        raise CodingError(_OTHER_CODES) from error
    if _digest(codes) != content[48:80]:
        raise CodingError(_OTHER_CODES)
    return codes


_OTHER_CODES = (
    "other codes were decoded than were written: this processor, or this version of numpy or constriction, computes "
    "other probabilities than the one that wrote them"
)


def _check(header: bytes, words: bytes) -> bytes:
    return zlib.crc32(words, zlib.crc32(header)).to_bytes(4, "little")


Where = tuple[slice, int, int]
"""Some samples, a position and a place: the codes of these samples there."""
See = Callable[[npt.NDArray[np.int64]], None]


def next_codes(stream: Any, prior: FittedPrior, samples: int) -> Iterator[tuple[tuple[Any, ...], Where, See]]:
    """What the coder takes for the next codes, where these are, and what is to see them; block by block of samples."""
    for block in blocks(samples, prior.layout):
        count = block.stop - block.start
        stepper = prior.stepper(count)
        for position in range(prior.layout.positions):
            for place in range(prior.layout.codes):
                yield _model(stream, stepper.probabilities(), count), (block, position, place), stepper.see


def decode_next(decoder: Any, model: tuple[Any, ...], samples: int) -> npt.NDArray[np.int64]:
    """The next codes of so many samples."""
    found = decoder.decode(*model, samples) if len(model) == 1 else decoder.decode(*model)
    return np.asarray(found, np.int64)


def _model(stream: Any, probabilities: Probabilities, samples: int) -> tuple[Any, ...]:
    """What the coder takes: a distribution, or a family of distributions and what each of them is."""
    if len(probabilities) == 1:
        return (stream.model.Categorical(probabilities[0], perfect=False),)
    assert len(probabilities) == samples
    return stream.model.Categorical(perfect=False), probabilities


def _digest(codes: npt.NDArray[np.int64]) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(codes, "<i8").tobytes()).digest()
