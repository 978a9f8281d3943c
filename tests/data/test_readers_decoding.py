"""Decoding of PNG, JPEG and WebP: truncated and damaged files, images that are too large, animations.

Covers: `readers.decoding`.
"""

import struct
import zlib

import numpy as np
import pytest
import real_files
from PIL import Image
from reader_checks import pictures

from fdrl_jax.data import readers
from fdrl_jax.data.readers.decoding import decode
from fdrl_jax.data.transform import ImageError, Transform


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_truncated_images_are_refused(kind):
    image = pictures("computed", 1, 48, 48)[0]
    data = real_files.encoded(image, kind)
    expected = np.asarray(decode(data))
    for size in range(len(data)):
        try:
            made = np.asarray(decode(data[:size]))
        except ImageError:
            continue
        np.testing.assert_array_equal(made, expected)  # Only the end marker is missing.
        assert size > len(data) - 24


def test_a_flipped_bit_of_a_png_is_noticed():
    rgba = np.dstack([pictures("computed", 1, 24, 24)[0], pictures("computed", 2, 24, 24)[1][..., 0]])
    data = real_files.encoded(rgba, "PNG")
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        try:
            made = np.asarray(decode(bytes(damaged)))
        except ImageError:
            continue
        np.testing.assert_array_equal(made, rgba)  # The bit has no effect on the pixels.


def test_errors_of_damaged_files_say_what_is_wrong(tmp_path):
    image = pictures("computed", 1, 48, 48)[0]
    png, jpeg = real_files.encoded(image, "PNG"), real_files.encoded(image, "JPEG")
    files = {
        "empty.png": (b"", "is not a PNG, JPEG or WebP image"),
        "text.png": (b"hello, world", "is not a PNG, JPEG or WebP image .*b'hello, w'"),
        "gif.png": (real_files.encoded(image, "GIF"), "is not a PNG, JPEG or WebP image .*b'GIF8"),
        "garbage.png": (png[:60] + np.random.default_rng(0).bytes(200) + png[260:], "is damaged"),
        "headless.jpg": (jpeg[:30] + bytes(400) + jpeg[430:], "is damaged"),
        "half.png": (png[: len(png) // 2], "is damaged"),
        "half.jpg": (jpeg[: len(jpeg) // 2], "is damaged"),
        "right.png": (png, None),
        "jpeg.png": (jpeg, None),  # The content decides, not the name.
    }
    reader = readers.folder(real_files.write_files(tmp_path, {name: data for name, (data, _) in files.items()}))
    for index, name in enumerate(sorted(files)):
        assert reader.name(index) == f"{tmp_path}/{name}"
        if files[name][1] is None:
            assert reader.read(index).size == (48, 48)
        else:
            with pytest.raises(ImageError, match=f"^{files[name][1]}") as error:
                reader.read(index)
            assert "\n" not in str(error.value)


def huge_png(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def test_decompression_bombs_are_refused_with_their_size():
    # Pillow itself raises an error for the first size, and only warns of the others.
    for width, height in ((30000, 20000), (12000, 9000), (89478486, 1)):
        with pytest.raises(ImageError, match=rf"^is {height}x{width} \(height x width\), more than 89478485 pixels"):
            decode(huge_png(width, height))


def test_the_first_frame_of_an_animation_is_decoded():
    frames = [Image.fromarray(image) for image in pictures("computed", 3)]
    for kind, options in (("WEBP", {"lossless": True}), ("PNG", {})):
        data = real_files.encoded(pictures("computed", 1)[0], kind, save_all=True, append_images=frames[1:], **options)
        np.testing.assert_array_equal(np.asarray(decode(data).convert("RGB")), pictures("computed", 1)[0])


@pytest.mark.parametrize("vendor", ["google", "twitter"])
def test_all_emoji(vendor):
    reader = readers.folder(real_files.emoji(vendor))
    assert len(reader) == 3786
    transform = Transform.parse("rgb", 64, 3)
    for index in range(0, 3786, 10):
        made = transform(reader.read(index))
        assert made.shape == (64, 64, 3)
        original = Image.open(reader.name(index)).convert("RGBA")
        white = Image.alpha_composite(Image.new("RGBA", (64, 64), "white"), original)
        assert np.abs(made.astype(int) - np.asarray(white)[..., :3]).max() <= 1
