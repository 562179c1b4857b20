from __future__ import annotations

import importlib
import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dvq_ray.experiments.learned_prior.image_decoding import MOST_PIXELS, Header, decode, read_header
from dvq_ray.experiments.learned_prior.sources import Fit, ImagesError
from dvq_ray.experiments.learned_prior.torchvision_datasets import torchvision_datasets
from tests.learned_prior.image_files import GRAY, GRAY_ALPHA, PALETTE, RGB, RGBA, bmp, exif, png, png_chunk, tiff
from tests.learned_prior.memory import ON_LINUX, taking_less_than

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

RGB_TAG, GRAY_TAG, WHITE_IS_ZERO, CMYK_TAG = 2, 1, 0, 5
"""TIFF's photometric interpretations."""


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def picture(size: int = 16, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def smooth(width: int, height: int) -> Image.Image:
    """Waves that survive JPEG, and that look different from every side."""
    down, across = np.mgrid[:height, :width]
    red = 127 + 120 * np.sin(across / width * 5)
    green = 127 + 120 * np.cos(down / height * 3)
    return Image.fromarray(np.stack([red, green, 255 * (across / width + down / height) / 2], -1).astype(np.uint8))


def message_of(encoded: bytes, size: int = 2, fit: Fit = "error") -> str:
    """The error, which the header alone must give too."""
    with pytest.raises(ImagesError) as by_decoding:
        decode(encoded, size, "x.img", fit)
    with pytest.raises(ImagesError) as by_header:
        read_header(io.BytesIO(encoded), "x.img")
    assert str(by_decoding.value) == str(by_header.value)
    return str(by_decoding.value)


def colours(encoded: bytes, size: int) -> list[Any]:
    """Red, green and blue of each pixel, row by row."""
    return decode(encoded, size, "x.img").reshape(3, -1).T.tolist()


def grays(encoded: bytes, size: int) -> list[int]:
    found = colours(encoded, size)
    assert all(red == green == blue for red, green, blue in found)
    return [red for red, _, _ in found]


# Depth

WIDE = (999, 0, 500, 65535)
"""Values of more than 8 bits. Cut to their upper halves they are 3, 0, 1 and 255."""


def words(count: int, order: str) -> bytes:
    return struct.pack(f"{order}{count}H", *(WIDE * count)[:count])


DEEP = {
    "PNG gray": png(2, 2, [words(2, ">")] * 2, bits=16, colour=GRAY),
    "PNG gray and alpha": png(2, 2, [words(4, ">")] * 2, bits=16, colour=GRAY_ALPHA),
    "PNG RGB": png(2, 2, [words(6, ">")] * 2, bits=16, colour=RGB),
    "PNG RGBA": png(2, 2, [words(8, ">")] * 2, bits=16, colour=RGBA),
    "TIFF gray": tiff(2, 2, [words(4, "<")], bits=[16], photometric=GRAY_TAG),
    "TIFF gray of 12 bits": tiff(2, 2, [bytes(6)], bits=[12], photometric=GRAY_TAG),
    "TIFF RGB": tiff(2, 2, [words(12, "<")], bits=[16] * 3, photometric=RGB_TAG),
    "TIFF RGB, big-endian": tiff(2, 2, [words(12, ">")], bits=[16] * 3, photometric=RGB_TAG, order=">"),
    "TIFF RGB in planes": tiff(2, 2, [words(4, "<")] * 3, bits=[16] * 3, photometric=RGB_TAG),
    "TIFF RGBA": tiff(2, 2, [words(16, "<")], bits=[16] * 4, photometric=RGB_TAG, tags={338: [2]}),
    "TIFF CMYK": tiff(2, 2, [words(16, "<")], bits=[16] * 4, photometric=CMYK_TAG),
    "TIFF LZW": saved(Image.fromarray(np.full((2, 2), 999, np.uint16)), "TIFF", compression="tiff_lzw"),
    "TIFF of fractions": saved(Image.fromarray(np.full((2, 2), 0.5, np.float32)), "TIFF"),
    "TIFF of 32 bits": saved(Image.fromarray(np.full((2, 2), 70_000, np.int32)), "TIFF"),
    "PPM": b"P6 2 2 999\n" + words(12, ">"),
    "PPM of 16 bits": b"P6 2 2 65535\n" + words(12, ">"),
    "PGM": b"P5 2 2 999\n" + words(4, ">"),
    "PGM of 16 bits": b"P5 2 2 65535\n" + words(4, ">"),
    "plain PPM": b"P3 2 2 999\n" + b"999 0 500 " * 4,
    "plain PGM": b"P2 2 2 256\n" + b"256 0 1 2 ",
    "PFM": b"Pf\n2 2\n-1.0\n" + struct.pack("<4f", 0, 0.5, 1, 2),
}


@pytest.mark.parametrize("encoded", DEEP.values(), ids=DEEP.keys())
def test_an_image_of_more_than_eight_bits_per_channel_is_rejected_in_every_format(encoded: bytes) -> None:
    message = message_of(encoded)
    assert "x.img: expected 8 bits or fewer per colour; found " in message
    assert "Scale the values to 0 to 255 and save them with 8 bits" in message


def test_a_jpeg_of_twelve_bits_is_rejected() -> None:
    encoded = saved(smooth(16, 16), "JPEG")
    frame = encoded.index(b"\xff\xc0\x00\x11\x08")
    message = message_of(encoded[: frame + 4] + b"\x0c" + encoded[frame + 5 :], 16)
    assert "bytes that do not decode: unknown to Pillow, or of a kind that it does not read" in message


@pytest.mark.parametrize(
    "encoded",
    [
        tiff(2, 2, [bytes(4)], bits=[8], photometric=GRAY_TAG, tags={339: [2]}),
        tiff(2, 2, [bytes(12)], bits=[8] * 3, photometric=RGB_TAG, tags={339: [2] * 3}),
        tiff(2, 2, [bytes(48)], bits=[32] * 3, photometric=RGB_TAG, tags={339: [3] * 3}),
        tiff(2, 2, [bytes(8)], bits=[16], photometric=GRAY_TAG, tags={339: [3]}),
        tiff(2, 2, [bytes(8)], bits=[8] * 3, photometric=8),
    ],
    ids=["signed gray", "signed RGB", "RGB fractions", "half-precision gray", "Lab"],
)
def test_a_tiff_of_signed_numbers_fractions_or_other_colours_is_rejected(encoded: bytes) -> None:
    assert message_of(encoded).startswith("x.img: expected ")


SHALLOW = {
    "PNG, 1 bit": (png(2, 2, [b"\x80", b"\x40"], bits=1, colour=GRAY), [255, 0, 0, 255]),
    "PNG, 2 bits": (png(2, 2, [b"\x10", b"\xb0"], bits=2, colour=GRAY), [0, 85, 170, 255]),
    "PNG, 4 bits": (png(2, 2, [b"\x05", b"\x1f"], bits=4, colour=GRAY), [0, 85, 17, 255]),
    "TIFF, 1 bit": (tiff(2, 2, [b"\x80\x40"], bits=[1], photometric=GRAY_TAG), [255, 0, 0, 255]),
    "TIFF, 1 bit, white is 0": (tiff(2, 2, [b"\x80\x40"], bits=[1], photometric=WHITE_IS_ZERO), [0, 255, 255, 0]),
    "TIFF, 2 bits": (tiff(2, 2, [b"\x10\xb0"], bits=[2], photometric=GRAY_TAG), [0, 85, 170, 255]),
    "TIFF, 4 bits": (tiff(2, 2, [b"\x05\x1f"], bits=[4], photometric=GRAY_TAG), [0, 85, 17, 255]),
    "TIFF, white is 0": (tiff(2, 2, [bytes([0, 1, 2, 255])], bits=[8], photometric=WHITE_IS_ZERO), [255, 254, 253, 0]),
    "PBM": (b"P4 2 2\n\x80\x40", [0, 255, 255, 0]),
    "plain PBM": (b"P1 2 2\n1 0 0 1\n", [0, 255, 255, 0]),
    "PGM of 0 to 15": (b"P5 2 2 15\n" + bytes([0, 5, 7, 15]), [0, 85, 119, 255]),
    "PGM of 0 to 100": (b"P5 2 2 100\n" + bytes([0, 50, 99, 100]), [0, 128, 252, 255]),
    "plain PGM of 0 to 3": (b"P2 2 2 3\n0 1 2 3\n", [0, 85, 170, 255]),
    "BMP, 1 bit": (bmp(2, 2, [b"\x80", b"\x40"], bits=1, palette=[(0, 0, 0), (255,) * 3]), [255, 0, 0, 255]),
    "BMP, 1 bit, white first": (
        bmp(2, 2, [b"\x80", b"\x40"], bits=1, palette=[(255,) * 3, (0, 0, 0)]),
        [0, 255, 255, 0],
    ),
    "BMP, 8 bits": (bmp(2, 2, [b"\0\1", b"\2\xff"], bits=8, palette=[(i,) * 3 for i in range(256)]), [0, 1, 2, 255]),
}


@pytest.mark.parametrize(("encoded", "expected"), SHALLOW.values(), ids=SHALLOW.keys())
def test_values_of_few_bits_are_stretched_to_the_full_range(encoded: bytes, expected: list[int]) -> None:
    assert grays(encoded, 2) == expected


def test_colours_of_few_bits_are_stretched_to_the_full_range() -> None:
    assert colours(b"P6 1 1 100\n" + bytes([100, 50, 1]), 1) == [[255, 128, 3]]
    assert colours(b"P3 1 1 7\n7 0 1\n", 1) == [[255, 0, 36]]
    assert colours(bmp(2, 2, [struct.pack("<HH", 0x7FFF, 0x7C00)] * 2, bits=16, palette=[]), 2)[:2] == [
        [255, 255, 255],
        [255, 0, 0],
    ]


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_palettes_of_any_depth_give_their_colours(bits: int, form: str) -> None:
    palette = [(10, 20, 30), (200, 100, 50)]
    row = bytes([0, 1]) if bits == 8 else bytes([1 << (8 - 2 * bits)])
    if form == "PNG":
        encoded = png(2, 2, [row] * 2, bits=bits, colour=PALETTE, chunks=png_chunk(b"PLTE", bytes(sum(palette, ()))))
    else:
        channels = [[256 * colour[i] for colour in palette] + [0] * (2**bits - 2) for i in range(3)]
        encoded = tiff(
            2, 2, [row * 2], bits=[bits], photometric=3, tags={320: [*channels[0], *channels[1], *channels[2]]}
        )
    assert colours(encoded, 2) == [[10, 20, 30], [200, 100, 50]] * 2


@pytest.mark.parametrize(
    ("bits", "size", "palette"),
    [
        (8, 8, [(0, 0, 0), (255, 255, 255)]),
        (4, 8, [(0, 0, 0), (255, 255, 255)]),
        (4, 4, [(gray, gray, gray) for gray in range(16)]),
    ],
)
def test_a_gray_bmp_that_pillow_misreads_is_rejected(bits: int, size: int, palette: list[tuple[int, int, int]]) -> None:
    encoded = bmp(size, size, [bytes(size * bits // 8)] * size, bits=bits, palette=palette)
    assert f"expected 1 bit for black and white, or 8 for gray; found {bits} bits" in message_of(encoded, size)


# Orientation


def stored(upright: Image.Image, orientation: int) -> Image.Image:
    """An image as a camera stores it in this orientation. Computed on arrays, independently of Pillow."""
    pixels = np.asarray(upright)
    turned = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.swapaxes(0, 1),
        6: np.rot90(pixels),
        7: pixels.swapaxes(0, 1)[::-1, ::-1],
        8: np.rot90(pixels, -1),
    }
    return Image.fromarray(np.ascontiguousarray(turned[orientation]))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "TIFF LZW"])
def test_images_are_turned_upright(form: str, orientation: int) -> None:
    upright = picture()
    options: dict[str, Any] = {"exif": exif(orientation)}
    if form.startswith("TIFF"):
        options = {"tiffinfo": {274: orientation}, "compression": "tiff_lzw" if "LZW" in form else None}
    if form == "WEBP":
        options |= {"lossless": True}
    encoded = saved(stored(upright, orientation), form.partition(" ")[0], **options)
    np.testing.assert_array_equal(decode(encoded, 16, "x").transpose(1, 2, 0), np.asarray(upright))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_photographs_are_turned_upright(orientation: int, order: str) -> None:
    upright = smooth(64, 64)
    encoded = saved(stored(upright, orientation), "JPEG", quality=95, exif=b"Exif\0\0" + exif(orientation, order))
    difference = np.asarray(upright, np.int16) - decode(encoded, 64, "x").transpose(1, 2, 0)
    assert np.abs(difference).mean() < 3


def test_a_photograph_on_its_side_is_turned_before_it_is_scaled() -> None:
    upright = smooth(90, 60)
    encoded = saved(stored(upright, 6), "PNG", exif=exif(6))
    for fit in ("crop", "resize"):
        expected = decode(saved(upright, "PNG"), 16, "x", fit)
        np.testing.assert_array_equal(decode(encoded, 16, "x", fit), expected)


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"I",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        exif(6)[:-9],
        exif(0),
        exif(9),
        b"XX" + exif(6)[2:],
        exif(6).replace(b"\3\0", b"\2\0"),  # text
        b"II*\0" + struct.pack("<IH", 8, 65535),
        b"\xff" * 40,
    ],
)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_broken_exif_block_leaves_the_image_as_it_is(form: str, block: bytes) -> None:
    plain = saved(smooth(16, 16), form)
    encoded = saved(smooth(16, 16), form, exif=b"Exif\0\0" + block if form == "JPEG" else block or b"\0")
    np.testing.assert_array_equal(decode(encoded, 16, "x"), decode(plain, 16, "x"))


# Frames

FRAMES = {
    "TIFF": saved(picture(), "TIFF", save_all=True, append_images=[picture(seed=1)]),
    "TIFF, other sizes": saved(picture(), "TIFF", save_all=True, append_images=[picture(4)]),
    "WebP": saved(picture(), "WEBP", save_all=True, append_images=[picture(seed=1), picture(seed=2)]),
    "APNG": saved(picture(), "PNG", save_all=True, append_images=[picture(seed=1), picture(seed=2)]),
    "APNG with a default image": saved(
        picture(), "PNG", save_all=True, default_image=True, append_images=[picture(seed=1)]
    ),
    "two PPM in one file": saved(picture(), "PPM") + saved(picture(seed=1), "PPM"),
    "two PBM in one file": saved(picture().convert("1"), "PPM") + b"\n" + saved(picture().convert("1"), "PPM"),
}


@pytest.mark.parametrize("encoded", FRAMES.values(), ids=FRAMES.keys())
def test_a_file_of_several_frames_is_rejected(encoded: bytes) -> None:
    message = message_of(encoded, 16)
    assert "x.img: expected a single image; found " in message
    assert message.endswith("Save each one as a file of its own")


def test_one_frame_in_a_format_for_several_is_an_image() -> None:
    for form in ("PNG", "WEBP", "TIFF"):
        decode(saved(picture(), form, save_all=True), 16, "x")
    decode(saved(picture(), "PPM") + b"\n", 16, "x")


def mpo(*, view: bool) -> bytes:
    encoded = saved(smooth(16, 16), "MPO", save_all=True, append_images=[picture(4)])
    start = encoded.index(b"MPF\0")
    first = encoded.rindex(struct.pack("<L", 0x030000), start, start + 150)
    second = first + 16
    assert encoded[second : second + 4] == bytes(4)
    return encoded[:second] + struct.pack("<L", 0x020002 if view else 0) + encoded[second + 4 :]


def test_a_photograph_with_attachments_is_one_image_and_a_pair_of_views_is_not() -> None:
    photograph = mpo(view=False)
    assert read_header(io.BytesIO(photograph), "x") == Header(16, 16, attached=1)
    np.testing.assert_array_equal(decode(photograph, 16, "x"), decode(saved(smooth(16, 16), "JPEG"), 16, "x"))
    assert "expected a single image; found Multi-Frame Image" in message_of(mpo(view=True), 16)


# Transparency


TRANSPARENT = {
    "RGBA": (png(2, 1, [bytes([10, 20, 30, 0, 10, 20, 30, 255])] * 1, colour=RGBA), [[255] * 3, [10, 20, 30]]),
    "RGBA, half": (png(2, 1, [bytes([0, 255, 100, 128, 0, 0, 0, 51])], colour=RGBA), [[127, 255, 177], [204] * 3]),
    "gray and alpha": (png(2, 1, [bytes([10, 0, 100, 128])], colour=GRAY_ALPHA), [[255] * 3, [177] * 3]),
    "palette, one colour": (
        png(2, 1, [b"\0\1"], colour=PALETTE, chunks=png_chunk(b"PLTE", bytes(range(6))) + png_chunk(b"tRNS", b"\0")),
        [[255] * 3, [3, 4, 5]],
    ),
    "palette, half": (
        png(2, 1, [b"\0\1"], colour=PALETTE, chunks=png_chunk(b"PLTE", bytes(6)) + png_chunk(b"tRNS", b"\x80\x33")),
        [[127] * 3, [204] * 3],
    ),
    "RGB, one colour": (
        png(2, 1, [bytes(range(6))], chunks=png_chunk(b"tRNS", struct.pack(">3H", 0, 1, 2))),
        [[255] * 3, [3, 4, 5]],
    ),
    "gray, one value": (
        png(2, 1, [b"\5\6"], colour=GRAY, chunks=png_chunk(b"tRNS", struct.pack(">H", 5))),
        [[255] * 3, [6] * 3],
    ),
    "gray of 4 bits, one value": (
        png(2, 1, [b"\x56"], bits=4, colour=GRAY, chunks=png_chunk(b"tRNS", struct.pack(">H", 5))),
        [[255] * 3, [102] * 3],
    ),
    "gray of 2 bits, one value": (
        png(2, 1, [b"\x60"], bits=2, colour=GRAY, chunks=png_chunk(b"tRNS", struct.pack(">H", 1))),
        [[255] * 3, [170] * 3],
    ),
    "black is transparent": (
        png(2, 1, [b"\x40"], bits=1, colour=GRAY, chunks=png_chunk(b"tRNS", struct.pack(">H", 0))),
        [[255] * 3, [255] * 3],
    ),
    "TIFF, premultiplied": (
        tiff(2, 1, [bytes([0, 0, 0, 0, 10, 20, 30, 255])], bits=[8] * 4, photometric=RGB_TAG, tags={338: [1]}),
        [[255] * 3, [10, 20, 30]],
    ),
    "TIFF, gray premultiplied": (
        tiff(2, 1, [bytes([0, 0, 10, 255])], bits=[8] * 2, photometric=GRAY_TAG, tags={338: [1]}),
        [[255] * 3, [10] * 3],
    ),
}


@pytest.mark.parametrize(("encoded", "expected"), TRANSPARENT.values(), ids=TRANSPARENT.keys())
def test_transparent_pixels_show_white(encoded: bytes, expected: list[list[int]]) -> None:
    enlarged = decode(encoded, 2, "x", "resize")  # 2x1 pixels, each as tall as it is wide no more
    assert enlarged[:, 0].T.tolist() == expected


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_an_opaque_image_keeps_its_pixels(mode: str) -> None:
    image = picture().convert(mode)
    decoded = decode(saved(image, "PNG"), 16, "x").transpose(1, 2, 0)
    np.testing.assert_array_equal(decoded, np.asarray(image.convert("RGB")))


# Ink


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_ink_becomes_light(form: str) -> None:
    inks = {(0, 0, 0, 0): (255, 255, 255), (255, 0, 0, 0): (0, 255, 255), (0, 0, 0, 255): (0, 0, 0)}
    for ink, expected in inks.items():
        encoded = saved(Image.new("CMYK", (16, 16), ink), form)
        assert form == "TIFF" or b"Adobe" in encoded  # whose inks are stored inverted
        pixels = decode(encoded, 16, "x").reshape(3, -1).T
        np.testing.assert_allclose(pixels, np.broadcast_to(expected, pixels.shape), atol=2)


# Scaling


@pytest.mark.parametrize(("width", "height"), [(64, 48), (48, 64), (128, 32), (20, 300), (10, 20), (33, 33)])
@pytest.mark.parametrize("fit", ["crop", "resize"])
def test_scaling_is_that_of_torchvision(fit: Fit, width: int, height: int) -> None:
    torchvision_datasets()
    transforms = importlib.import_module("torchvision.transforms")
    bicubic = transforms.InterpolationMode.BICUBIC
    image = smooth(width, height)
    if fit == "crop":
        expected = transforms.CenterCrop(16)(transforms.Resize(16, bicubic)(image))
    else:
        expected = transforms.Resize((16, 16), bicubic)(image)
    difference = decode(saved(image, "PNG"), 16, "x", fit).transpose(1, 2, 0) - np.asarray(expected, np.int16)
    # A whole number of pixels is cut off there, and a fraction here.
    assert np.abs(difference).max() <= (20 if fit == "crop" else 0)
    assert np.abs(difference).mean() < 5


def test_scaling_down_loses_no_pixel() -> None:
    """Stripes of one pixel become gray, where a filter that is not antialiased would show black, white or moiré."""
    stripes = np.zeros((160, 160, 3), np.uint8)
    stripes[:, ::2] = 255
    for fit in ("crop", "resize"):
        pixels = decode(saved(Image.fromarray(stripes), "PNG"), 16, "x", fit)
        assert 120 <= pixels.min() <= pixels.max() <= 135


def test_a_crop_is_the_middle() -> None:
    pixels = np.zeros((16, 48, 3), np.uint8)
    pixels[:, 16:32] = (10, 200, 30)
    for image in (pixels, pixels.swapaxes(0, 1)):
        cropped = decode(saved(Image.fromarray(np.ascontiguousarray(image)), "PNG"), 16, "x", "crop")
        np.testing.assert_array_equal(cropped.reshape(3, -1).T, np.broadcast_to((10, 200, 30), (256, 3)))


@pytest.mark.parametrize("fit", ["error", "crop", "resize"])
def test_an_image_of_the_right_size_is_not_filtered(fit: Fit) -> None:
    np.testing.assert_array_equal(decode(saved(picture(), "PNG"), 16, "x", fit).transpose(1, 2, 0), picture())


# What cannot be used


@ON_LINUX
@pytest.mark.parametrize("fit", ["error", "crop"])
@pytest.mark.parametrize(
    "header",
    [
        b"P6 60000 60000 255\n",
        b"P5 100000 1001 255\n",
        png(20_000, 6_000, []),
        tiff(2, 60_000, [b""], bits=[8] * 3, photometric=RGB_TAG, tags={256: [60_000]}),
        bmp(11_000, 11_000, [], bits=24, palette=[]),
        b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (13_000).to_bytes(3, "little") * 2 + bytes(20),
        png(0, 5, []),
        b"P5 0 0 255\n",
    ],
    ids=["PPM", "PGM", "PNG", "TIFF", "BMP", "WebP", "PNG without pixels", "PGM without pixels"],
)
def test_an_image_that_claims_to_be_huge_takes_no_memory(header: bytes, fit: Fit) -> None:
    with taking_less_than(50_000), pytest.raises(ImagesError):
        decode(header, 16, "x", fit)


def test_an_image_of_too_many_pixels_says_how_many_there_may_be() -> None:
    message = message_of(b"P5 2000 600 255\n", fit="crop")
    assert f"expected 1 to {MOST_PIXELS:,} pixels, and at most 10,000 for each byte of the file" in message
    assert message.endswith("found 2,000x600 in 16 bytes")
    assert "found 20,000x6,000 in 20,018 bytes" in message_of(b"P5 20000 6000 255\n" + bytes(20_000), fit="crop")


@pytest.mark.parametrize("filler", [b"\0", b"\xff", b"\x55"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_a_jpeg_whose_end_was_overwritten_is_rejected(options: dict[str, Any], filler: bytes) -> None:
    encoded = saved(smooth(64, 64), "JPEG", quality=95, **options)
    for kept in (len(encoded) * 2 // 3, len(encoded) - 10):
        with pytest.raises(ImagesError, match="bytes that do not decode"):
            decode(encoded[:kept] + filler * (len(encoded) - kept + 3000), 64, "x")


def test_a_jpeg_may_have_something_after_its_end() -> None:
    encoded = saved(smooth(64, 64), "JPEG")
    trailer = np.random.default_rng(0).bytes(5000) + b"\xff\xda\xff\xda"
    np.testing.assert_array_equal(decode(encoded + trailer, 64, "x"), decode(encoded, 64, "x"))


def test_an_error_is_one_line_of_printable_text() -> None:
    where = b"z\xe4\n\x1b[31m.png".decode("utf-8", "surrogateescape")
    with pytest.raises(ImagesError) as caught:
        decode(b"nothing", 16, where)
    assert str(caught.value).startswith("z\\xe4\\n\\x1b[31m.png: expected a JPEG, PNG")
    assert str(caught.value).isprintable()
    str(caught.value).encode()


def test_pillow_writes_nothing_about_broken_files(capfd: pytest.CaptureFixture[str]) -> None:
    for encoded in (tiff(2, 2, [b""], bits=[8] * 60, photometric=RGB_TAG), saved(picture(), "TIFF")[:300]):
        with pytest.raises(ImagesError):
            decode(encoded, 2, "x", "crop")
    captured = capfd.readouterr()
    assert captured.err == captured.out == ""
