"""Rules that several quantizers share. Each takes the values of fields and says what is wrong, or None."""

from __future__ import annotations

from importlib.util import find_spec


def enough_samples(codebook_size: int, train_samples: int) -> str | None:
    """The breach of a rule that codes are clusters of the training vectors."""
    if codebook_size <= train_samples:
        return None
    return f"is larger than train_samples = {train_samples}; allowed: at most {train_samples}"


def indexed_by_bits(codebook_size: int) -> str | None:
    """The breach of a rule that a code is a whole number of bits, as in faiss; more than 16 count as a mistake."""
    if codebook_size.bit_count() == 1 and codebook_size <= 1 << 16:
        return None
    return "is no power of 2 up to 65536; allowed: " + ", ".join(str(1 << bits) for bits in (1, 2, 3, 4, 8)) + ", ..."


def faiss_is_installed(quantizer: str) -> str | None:
    """The breach of a rule that faiss, which only some quantizers need, is there."""
    return None if find_spec("faiss") else "needs the package faiss; install it: pip install 'dvq_ray[faiss]'"
