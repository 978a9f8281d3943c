"""Transforms of images: torchvision's results bit for bit, all kinds of images in files, and what is refused."""

import io
import json
import re
import runpy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import GOLDENS
from PIL import Image

from fdrl_jax.data.transform import ImageError, Transform
from fdrl_jax.types import InputError

GOLDEN = runpy.run_path(str(GOLDENS / "make_torchvision_resize.py"))
picture = GOLDEN["picture"]


def pil(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def saved(image: Image.Image, kind: str, **options) -> Image.Image:
    """`image` after writing it to a file and opening that."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Image.open(io.BytesIO(file.getvalue()))


# --- torchvision ---


@pytest.mark.parametrize("case", GOLDEN["CASES"], ids=lambda case: GOLDEN["name"](*case))
def test_steps_are_torchvisions_bit_for_bit(case):
    spec, *shape = case
    with np.load(GOLDENS / "torchvision_resize.npz") as arrays:
        expected = arrays[GOLDEN["name"](*case)]
    transform = Transform.parse(spec, len(expected), expected.shape[2])
    pixels = picture(*shape)
    for image in (pil(pixels), pixels):
        made = transform(image)
        assert made.dtype == np.uint8
        np.testing.assert_array_equal(made, expected)


def test_the_golden_file_stores_the_versions_that_made_it():
    with np.load(GOLDENS / "torchvision_resize.npz") as arrays:
        versions = json.loads(str(arrays["versions"]))
        assert set(arrays) == {"versions"} | {GOLDEN["name"](*case) for case in GOLDEN["CASES"]}
    assert set(versions) == {"torch", "torchvision", "PIL", "numpy"}


@settings(deadline=None, max_examples=50)
@given(height=st.integers(1, 60), width=st.integers(1, 60), size=st.integers(1, 40), crop=st.integers(1, 40))
def test_images_of_any_size_get_the_requested_size(height, width, size, crop):
    pixels = picture(height, width, 3)
    for spec, end in (
        (f"resize:{size},center_crop:{crop}", crop),
        (f"center_crop:{crop},resize:{size}", size),
        (f"resize:{size}x{crop},center_crop:{crop}", crop),
        (f"pad:{60 + size}", 60 + size),
    ):
        assert Transform.parse(spec, end, 3)(pixels).shape == (end, end, 3)


def test_pad_adds_black_on_both_sides_and_an_odd_pixel_after():
    pixels = picture(3, 4, 1) | 1
    made = Transform.parse("pad:8", 8, 1)(pixels)
    np.testing.assert_array_equal(made, np.pad(pixels, ((2, 3), (2, 2), (0, 0))))
    with pytest.raises(ImageError, match="is 3x4 and too large for 'pad:2x9'"):
        Transform.parse("pad:2x9,resize:4x4", 4, 1)(pixels)


def test_an_array_of_the_right_shape_is_returned_as_it_is():
    pixels = picture(6, 6, 3)
    assert Transform.parse("", 6, 3)(pixels) is pixels
    np.testing.assert_array_equal(Transform.parse("", 6, 3)(pil(pixels)), pixels)


# --- kinds of images in files ---

PIXELS = picture(5, 7, 3)

# The upright image for each EXIF orientation of PIXELS, by numpy.
UPRIGHT = {
    1: PIXELS,
    2: PIXELS[:, ::-1],
    3: PIXELS[::-1, ::-1],
    4: PIXELS[::-1],
    5: PIXELS.swapaxes(0, 1),
    6: np.rot90(PIXELS, -1),
    7: PIXELS[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90(PIXELS),
}


@pytest.mark.parametrize(("orientation", "expected"), UPRIGHT.items())
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_exif_orientation_is_undone(orientation, expected, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = saved(pil(PIXELS), kind, exif=exif, lossless=True)
    assert image.size == (7, 5)
    margins = [((9 - side) // 2,) * 2 for side in expected.shape[:2]]
    np.testing.assert_array_equal(Transform.parse("pad:9", 9, 3)(image), np.pad(expected, [*margins, (0, 0)]))


def test_images_are_made_upright_before_the_steps():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = saved(pil(picture(20, 40, 3)), "JPEG", exif=exif, quality=95)
    upright = np.rot90(np.asarray(image), -1)
    for spec in ("resize:10,center_crop:16", "center_crop:30x10,resize:16x16"):
        transform = Transform.parse(spec, 16, 3)
        np.testing.assert_array_equal(transform(image), transform(np.ascontiguousarray(upright)))


def test_damaged_exif_is_ignored():
    image = saved(pil(PIXELS), "PNG", exif=b"Exif\0\0MM\0*nonsense")
    np.testing.assert_array_equal(Transform.parse("pad:7", 7, 3)(image)[1:6], PIXELS)


def on_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None].astype(np.float64) / 255
    return colour * share + 255 * (1 - share)


def test_transparency_is_composited_on_white():
    colour, alpha = picture(16, 16, 3), picture(16, 16, 1)[..., 0]
    alpha[:2], alpha[2:4] = 0, 255
    rgba = np.dstack([colour, alpha])
    for image in (saved(Image.fromarray(rgba), "PNG"), Image.fromarray(rgba).convert("RGBa"), rgba):
        made = Transform.parse("", 16, 3)(image)
        # RGBa has colours multiplied by alpha, which are lost in rounding if alpha is small.
        visible = alpha > 128 if isinstance(image, Image.Image) and image.mode == "RGBa" else np.ones_like(alpha, bool)
        assert np.abs(made - on_white(colour, alpha))[visible].max() <= 1.5
        assert (made[:2] == 255).all()
        np.testing.assert_array_equal(made[2:4], colour[2:4])
    grey = np.dstack([colour[..., :1], alpha])
    for image in (saved(Image.fromarray(grey), "PNG"), grey):
        made = Transform.parse("", 16, 1)(image)
        assert np.abs(made - on_white(colour[..., :1], alpha)).max() <= 1
        assert (made[:2] == 255).all()


def test_transparency_is_composited_before_the_steps():
    rgba = np.zeros((16, 16, 4), np.uint8)
    rgba[:, 8:] = 255
    made = Transform.parse("resize:4x4", 4, 3)(Image.fromarray(rgba))
    np.testing.assert_array_equal(made, np.full((4, 4, 3), 255))  # A black transparent half must not bleed in.


def test_transparent_palette_and_transparent_colour():
    palette = Image.new("P", (4, 4))
    palette.putpalette([10, 20, 30, 200, 100, 50, 0, 0, 0])
    palette.putdata([0, 1, 2, 1] * 4)
    rows = {0: [10, 20, 30], 1: [200, 100, 50], 2: [0, 0, 0]}
    opaque = np.array([[rows[i] for i in (0, 1, 2, 1)]] * 4, np.uint8)
    np.testing.assert_array_equal(Transform.parse("", 4, 3)(saved(palette, "PNG")), opaque)
    for transparency in (2, b"\xff\xff\x00"):  # One transparent index, or an alpha for each index.
        image = saved(palette, "PNG", transparency=transparency)
        assert image.mode == "P"
        expected = opaque.copy()
        expected[:, 2] = 255
        np.testing.assert_array_equal(Transform.parse("", 4, 3)(image), expected)
    rgb = saved(Image.fromarray(opaque), "PNG", transparency=(10, 20, 30))
    expected = opaque.copy()
    expected[:, 0] = 255
    assert rgb.mode == "RGB"
    np.testing.assert_array_equal(Transform.parse("", 4, 3)(rgb), expected)
    grey = saved(Image.fromarray(opaque[..., 0]), "PNG", transparency=200)
    np.testing.assert_array_equal(Transform.parse("", 4, 1)(grey)[0, :, 0], [10, 255, 0, 255])


def test_other_colour_modes_become_rgb_or_grey():
    rgb = pil(picture(8, 8, 3))
    for mode in ("CMYK", "YCbCr", "HSV", "RGBX"):
        image = rgb.convert(mode)
        np.testing.assert_array_equal(Transform.parse("", 8, 3)(image), np.asarray(image.convert("RGB")))
    bits = Image.fromarray(picture(8, 8, 1)[..., 0] > 100)
    assert bits.mode == "1"
    made = Transform.parse("", 8, 1)(bits)
    np.testing.assert_array_equal(made[..., 0], np.where(picture(8, 8, 1)[..., 0] > 100, 255, 0))


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_more_than_8_bits_are_refused(mode):
    dtype = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
    image = Image.fromarray(np.full((4, 4), 300, dtype))
    assert image.mode == mode
    for channels in (1, 3):
        with pytest.raises(ImageError, match=rf"pixels \(mode {mode}\): make it 8 bit"):
            Transform.parse("", 4, channels)(image)


def test_16_bit_png_is_refused():
    image = saved(Image.fromarray(np.full((4, 4), 300, np.uint16)), "PNG")
    with pytest.raises(ImageError, match="make it 8 bit"):
        Transform.parse("", 4, 1)(image)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 5), np.uint8)]
)
def test_arrays_that_are_no_images_are_refused(image):
    with pytest.raises(ImageError, match=rf"is {image.dtype} \[.*\] and not uint8"):
        Transform.parse("", 4, 3)(image)


# --- grey and colour ---


def test_grey_and_colour_are_converted_only_by_a_step():
    grey, colour = picture(4, 4, 1), picture(4, 4, 3)
    for image in (grey, pil(grey)):
        with pytest.raises(ImageError, match=r"^is grey and config.data.channels = 3: .* 'rgb'"):
            Transform.parse("", 4, 3)(image)
        np.testing.assert_array_equal(Transform.parse("rgb", 4, 3)(image), np.repeat(grey, 3, axis=2))
    for image in (colour, pil(colour)):
        with pytest.raises(ImageError, match=r"^is colour and config.data.channels = 1: .* 'grey'"):
            Transform.parse("", 4, 1)(image)
        luma = colour @ [0.299, 0.587, 0.114]
        assert np.abs(Transform.parse("grey", 4, 1)(image)[..., 0] - luma).max() <= 1
    np.testing.assert_array_equal(Transform.parse("rgb", 4, 3)(colour), colour)


# --- what is refused ---


@pytest.mark.parametrize("spec", ["", "rgb"])
@pytest.mark.parametrize("shape", [(20, 30), (40, 40), (12, 12)])
def test_a_wrong_size_names_transforms_that_work(shape, spec):
    pixels = picture(*shape, 3)
    with pytest.raises(ImageError) as error:
        Transform.parse(spec, 16, 3)(pixels)
    message = str(error.value)
    assert message.startswith(f"is {shape[0]}x{shape[1]} (height x width)")
    assert "config.data.image_size is 16" in message
    advice = re.findall(r"'(\S*:\S*)'", message)
    assert advice
    for suggested in advice:
        assert suggested.startswith(spec)
        assert Transform.parse(suggested, 16, 3)(pixels).shape == (16, 16, 3)


def test_a_wrong_size_after_the_steps_names_a_step_to_add():
    with pytest.raises(ImageError, match=r"^is 16x24 .* after 'resize:16' .* 'resize:16,center_crop:16' cuts out"):
        Transform.parse("resize:16", 16, 3)(picture(20, 30, 3))


@pytest.mark.parametrize(
    "spec",
    ["crop:3", "resize", "resize:", "resize:0", "resize:-4", "resize:4x", "resize:4x4x4", "resize:4.5", "resize:10000",
     "pad:4,", ",", "resize:4;pad:4", "center_crop(4)", "rgb:3", "Resize:4", "resize:4\u0664"],
)  # fmt: skip
def test_a_bad_spec_is_refused(spec):
    with pytest.raises(InputError, match=r"config\.data\.transform = .* has a step") as error:
        Transform.parse(spec, 4, 3)
    assert "\n" not in str(error.value)


def test_a_spec_that_cannot_end_in_the_size_is_refused():
    for spec in (
        "center_crop:140",
        "resize:64,center_crop:63",
        "resize:84",
        "resize:64x63",
        "pad:63x64",
        "resize:63,rgb",
    ):
        with pytest.raises(InputError, match=r"ends with '.*' and config\.data\.image_size is 64"):
            Transform.parse(spec, 64, 3)


def test_a_spec_is_normalised():
    transform = Transform.parse(" center_crop:140x140 , resize:64x64,pad:64,rgb", 64, 3)
    assert transform.spec == "center_crop:140,resize:64x64,pad:64,rgb"
    assert Transform.parse(transform.spec, 64, 3) == transform
    assert Transform.parse("resize:64", 64, 3).spec == "resize:64"
    assert Transform.parse(" ", 64, 3).spec == ""


def test_a_long_image_does_not_fill_the_memory():
    with pytest.raises(ImageError, match="is 30000x1, which 'resize:64' would make 1920000x64: crop it first"):
        Transform.parse("resize:64,center_crop:64", 64, 1)(np.zeros((30000, 1, 1), np.uint8))
