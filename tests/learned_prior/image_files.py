"""Image files that Pillow does not write: written byte by byte, with any depth and layout."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
"""PNG's colour types."""


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    width: int, height: int, rows: Sequence[bytes], *, bits: int = 8, colour: int = RGB, chunks: bytes = b""
) -> bytes:
    """`rows` are packed, and come without their filter bytes; `chunks` go before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = png_chunk(b"IHDR", header) + chunks + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def tiff(
    width: int,
    height: int,
    planes: Sequence[bytes],
    *,
    bits: Sequence[int],
    photometric: int,
    order: str = "<",
    tags: Mapping[int, Sequence[int]] | None = None,
    next_page: int = 0,
) -> bytes:
    """One uncompressed strip for each of `planes`: one plane is interleaved, several are the colours by themselves."""
    short, long = 3, 4
    entries: dict[int, tuple[int, Sequence[int]]] = {
        256: (short, [width]),
        257: (short, [height]),
        258: (short, bits),
        259: (short, [1]),
        262: (short, [photometric]),
        273: (long, [0] * len(planes)),
        277: (short, [len(bits)]),
        278: (short, [height]),
        279: (long, [len(plane) for plane in planes]),
        284: (short, [1 if len(planes) == 1 else 2]),
        **{tag: (short, values) for tag, values in (tags or {}).items()},
    }
    sizes = {tag: len(values) * {short: 2, long: 4}[kind] for tag, (kind, values) in entries.items()}
    far_start = 8 + 2 + 12 * len(entries) + 4
    start = far_start + sum(size for size in sizes.values() if size > 4)
    offsets = [start + sum(map(len, planes[:i])) for i in range(len(planes))]
    entries[273] = (long, offsets)
    directory, far = struct.pack(order + "H", len(entries)), b""
    for tag, (kind, values) in sorted(entries.items()):
        raw = struct.pack(f"{order}{len(values)}{'H' if kind == short else 'I'}", *values)
        if len(raw) > 4:
            raw, far = struct.pack(order + "I", far_start + len(far)), far + raw
        directory += struct.pack(order + "HHI", tag, kind, len(values)) + raw.ljust(4, b"\0")
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return (
        magic + struct.pack(order + "I", 8) + directory + struct.pack(order + "I", next_page) + far + b"".join(planes)
    )


def bmp(width: int, height: int, rows: Sequence[bytes], *, bits: int, palette: Sequence[tuple[int, int, int]]) -> bytes:
    """Packed rows from top to bottom."""
    colours = b"".join(bytes([blue, green, red, 0]) for red, green, blue in palette)
    pixels = b"".join(row + bytes(-len(row) % 4) for row in reversed(rows))
    start = 14 + 40 + len(colours)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 0, len(pixels), 0, 0, len(palette), 0)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + colours + pixels


def exif(orientation: int, order: str = "<") -> bytes:
    """An EXIF block that says nothing but how an image lies."""
    magic = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "HHIHH", 274, 3, 1, orientation, 0)
    return magic + struct.pack(order + "IH", 8, 1) + entry + struct.pack(order + "I", 0)
