"""Every kind of file people have decodes to the values a hand calculation gives, or is refused."""

import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sonobalance.data.guard import reading_only
from sonobalance.data.images import (
    image_shape,
    letterbox,
    letterbox_of,
    read_color,
    read_gray,
    read_mask,
    unletterbox,
    write_png,
)
from sonobalance.data.manifest import Manifest, Record
from sonobalance.data.raster import Upload, decode
from sonobalance.errors import InputError, LeakError

RAMP = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) % 256
GREY = RAMP.astype(np.uint8)
RED_GREEN = np.zeros((4, 6, 3), np.uint8)
RED_GREEN[:2, :3] = (255, 0, 0)
RED_GREEN[2:, 3:] = (0, 128, 0)


def save(path, array, mode=None, **options):
    Image.fromarray(array, mode).save(path, **options) if mode is None else Image.fromarray(
        array
    ).convert(mode).save(path, **options)
    return path


def bomb(path, width=60_000, height=60_000):
    """A PNG whose header announces 3.6 gigapixels and whose data are a few bytes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif"])
def test_lossless_formats_keep_every_value(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}", GREY)
    assert np.array_equal(read_gray(path), GREY)
    assert np.array_equal(read_color(path), np.stack([GREY] * 3, axis=-1))


def test_lossless_webp_keeps_every_value(tmp_path):
    assert np.array_equal(read_gray(save(tmp_path / "a.webp", GREY, lossless=True)), GREY)


def test_jpeg_stays_near(tmp_path):
    smooth = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))
    read = read_gray(save(tmp_path / "a.jpg", smooth, quality=95)).astype(int)
    assert np.abs(read - smooth).max() <= 8


@pytest.mark.parametrize(("peak", "top"), [(255, 255), (1000, 1023), (4000, 4095), (65535, 65535)])
def test_deep_values_are_divided_by_the_top_of_their_bit_depth(tmp_path, peak, top):
    values = np.linspace(0, peak, 600).astype(np.uint16).reshape(20, 30)
    expected = np.rint(values.astype(float) * 255 / top)
    for suffix in ("png", "tif"):
        assert np.array_equal(read_gray(save(tmp_path / f"a.{suffix}", values)), expected)


def test_floats(tmp_path):
    unit = np.array([[0.0, 0.5], [1.0, -3.0]], np.float32)
    assert read_gray(save(tmp_path / "a.tif", unit)).tolist() == [[0, 128], [255, 0]]
    assert read_gray(save(tmp_path / "b.tif", unit * 200)).tolist() == [[0, 100], [200, 0]]
    unit[0, 0] = np.nan
    with pytest.raises(InputError, match="finite"):
        read_gray(save(tmp_path / "c.tif", unit))


def test_colour_becomes_luma(tmp_path):
    path = save(tmp_path / "a.png", RED_GREEN)
    assert np.array_equal(read_color(path), RED_GREEN)
    assert read_gray(path)[0, 0] == round(0.299 * 255)
    assert read_gray(path)[3, 5] == round(0.587 * 128)


def test_palette_and_palette_with_a_transparent_entry(tmp_path):
    paletted = Image.fromarray(RED_GREEN).quantize(8)
    paletted.save(tmp_path / "a.png")
    assert np.array_equal(read_color(tmp_path / "a.png"), RED_GREEN)
    red = paletted.getpixel((0, 0))
    paletted.save(tmp_path / "b.png", transparency=red)
    hidden = RED_GREEN.copy()
    hidden[:2, :3] = 0
    assert np.array_equal(read_color(tmp_path / "b.png"), hidden)


def test_cmyk(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    assert read_color(tmp_path / "a.tif")[0, 0].tolist() == [255, 0, 0]


def test_transparency_is_composited_on_black(tmp_path):
    grey_alpha = np.stack([np.full((5, 5), 200), np.full((5, 5), 51)], -1).astype(np.uint8)
    assert np.unique(read_gray(save(tmp_path / "a.png", grey_alpha))).tolist() == [40]
    rgba = np.full((5, 5, 4), 255, np.uint8)
    rgba[..., 3] = 0
    assert not read_gray(save(tmp_path / "b.png", rgba)).any()


def test_one_bit(tmp_path):
    path = save(tmp_path / "a.png", GREY > 100)
    assert np.array_equal(read_gray(path), np.where(GREY > 100, 255, 0))


@pytest.mark.parametrize("suffix", ["gif", "tif", "webp", "png"])
def test_frames(tmp_path, suffix):
    frames = [Image.new("L", (9, 7), value) for value in (10, 90, 170)]
    options = {"lossless": True} if suffix == "webp" else {}
    path = tmp_path / f"a.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    shape = image_shape(path)
    assert (shape.width, shape.height, shape.frames) == (9, 7, 3)
    assert [int(read_gray(path, i)[3, 3]) for i in range(3)] == [10, 90, 170]
    with pytest.raises(InputError, match="frame 3"):
        read_gray(path, 3)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_shows_the_image_upright(tmp_path, orientation, name):
    upright = np.zeros((64, 96), np.uint8)
    upright[:16] = 100  # skin line on top
    upright[:16, :16] = 255
    undo = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
    stored = Image.fromarray(upright)
    if orientation > 1:
        operation = {
            2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
            6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_90,
        }[undo[orientation]]  # fmt: skip
        stored = stored.transpose(operation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / name
    stored.save(path, exif=exif)
    for shown in (read_gray(path), decode(Upload(path.read_bytes()), 0, 1.0)[0]):
        assert shown.shape == upright.shape
        assert np.abs(shown.astype(int) - upright).max() <= 8 * (name == "a.jpg")
    assert (image_shape(path).width, image_shape(path).height) == (96, 64)


def test_white_may_be_zero_at_more_than_eight_bits(tmp_path):
    values = (RAMP * 16).astype(np.uint16)  # 12 bits
    path = tmp_path / "a.tif"
    Image.fromarray(4095 - values).save(path, tiffinfo={262: 0})
    plain = tmp_path / "b.tif"
    Image.fromarray(values).save(plain)
    assert np.array_equal(read_gray(path), read_gray(plain))


@pytest.mark.parametrize("bits", [12, 16])
def test_colours_of_more_than_eight_bits_keep_their_brightness(tmp_path, bits):
    top = 2**bits - 1
    values = np.zeros((4, 6, 3), np.uint16)
    values[:2], values[2:, :, 0] = top, top // 2
    cv2.imwrite(str(tmp_path / "a.png"), values[..., ::-1])
    shown = read_color(tmp_path / "a.png")
    assert shown[0, 0].tolist() == [255, 255, 255]
    assert shown[3, 0].tolist() == [127, 0, 0]


def write_bytes(path, data):
    path.write_bytes(data)
    return path


def broken_files(folder):
    whole = save(folder / "whole.png", GREY).read_bytes()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    jpeg = save(folder / "whole.jpg", noise).read_bytes()
    return {
        "missing": folder / "missing.png",
        "empty": write_bytes(folder / "empty.png", b""),
        "truncated png": write_bytes(folder / "cut.png", whole[: len(whole) // 2]),
        "truncated jpeg": write_bytes(folder / "cut.jpg", jpeg[: len(jpeg) // 2]),
        "text": write_bytes(folder / "text.png", b"name,label\nbenign,1\n"),
        "postscript": write_bytes(folder / "ps.png", b"%!PS-Adobe-3.0 EPSF-3.0\n"),
        "bomb": bomb(folder / "bomb.png"),
        "folder": folder,
        "scans": write_bytes(folder / "scans.jpg", jpeg[:-2] + b"\xff\xda" * 3000 + jpeg[-2:]),
    }


def test_unusable_files_get_one_sentence_with_their_name(tmp_path):
    for kind, path in broken_files(tmp_path).items():
        for read in (read_gray, read_color, lambda p: read_mask([p], 24, 32)):
            with pytest.raises(InputError) as caught:
                read(path)
            message = str(caught.value)
            assert str(path) in message, kind
            assert "\n" not in message, kind
            assert message.endswith("."), kind


def test_a_bomb_is_refused_by_its_header(tmp_path):
    with pytest.raises(InputError, match="too large"):
        image_shape(bomb(tmp_path / "a.png"))
    with pytest.raises(InputError, match="12000 x 10000"):
        read_gray(bomb(tmp_path / "a.png", 12_000, 10_000))
    with pytest.raises(InputError, match="at most 0"):
        image_shape(save(tmp_path / "b.png", GREY), max_megapixels=0.0005)
    frames = [Image.new("L", (32, 32), value) for value in range(40)]
    frames[0].save(tmp_path / "c.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="but got 40 of 32 x 32"):
        image_shape(tmp_path / "c.gif", max_megapixels=0.0011)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_forbidden_file(tmp_path):
    path = save(tmp_path / "a.png", GREY)
    path.chmod(0)
    with pytest.raises(InputError, match="permission"):
        read_gray(path)


def test_every_opening_asks_the_guard(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / f"{name}.png", GREY)
    allowed = Manifest((Record(id="a", path="a.png", label="benign"),), tmp_path)
    with reading_only(allowed):
        read_gray(tmp_path / "a.png")
        for read in (read_gray, read_color, image_shape, lambda p: read_mask([p], 24, 32)):
            with pytest.raises(LeakError):
                read(tmp_path / "b.png")


def blob(value, background=0, shape=(20, 30)):
    mask = np.full(shape, background, np.uint8)
    mask[5:12, 8:20] = value
    return mask


INSIDE = blob(1) > 0


@pytest.mark.parametrize("value", [1, 2, 128, 255])
def test_masks_of_any_binary_value(tmp_path, value):
    path = save(tmp_path / "m.png", blob(value))
    assert np.array_equal(read_mask([path], 20, 30), INSIDE)


def test_masks_in_colour_with_alpha_paletted_and_one_bit(tmp_path):
    rgba = np.stack([blob(255)] * 3 + [np.full((20, 30), 255)], -1).astype(np.uint8)
    green = np.zeros((20, 30, 3), np.uint8)
    green[..., 1] = blob(255)
    paths = [
        save(tmp_path / "rgba.png", rgba),
        save(tmp_path / "green.png", green),
        save(tmp_path / "bits.png", INSIDE),
        save(tmp_path / "deep.png", blob(255).astype(np.uint16) * 257),
    ]
    labels = Image.fromarray(blob(1), "P")
    labels.putpalette([0, 0, 0, 128, 0, 0])
    labels.save(tmp_path / "labels.png")
    for path in [*paths, tmp_path / "labels.png"]:
        assert np.array_equal(read_mask([path], 20, 30), INSIDE), path.name


def test_shaded_mask_is_cut_at_half_and_lossy_black_is_empty(tmp_path):
    ramp = np.tile(np.arange(0, 200, dtype=np.uint8), (10, 1))
    assert np.array_equal(read_mask([save(tmp_path / "a.png", ramp)], 10, 200), ramp > 199 / 2)
    noise = np.random.default_rng(0).integers(0, 6, (40, 40), np.uint8)
    assert not read_mask([save(tmp_path / "b.jpg", noise)], 40, 40).any()


def test_masks_are_united(tmp_path):
    left, right = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.uint8)
    left[:, :5], right[:, 25:] = 255, 255
    paths = [save(tmp_path / "l.png", left), save(tmp_path / "r.png", right)]
    assert np.array_equal(read_mask(paths, 20, 30), (left | right) > 0)
    assert not read_mask([], 20, 30).any()


def test_mask_of_another_size_is_resized_and_of_another_aspect_refused(tmp_path):
    path = save(tmp_path / "m.png", blob(255))
    assert np.array_equal(read_mask([path], 40, 60), np.kron(INSIDE, np.ones((2, 2))) > 0)
    with pytest.raises(InputError, match="aspect ratio"):
        read_mask([path], 30, 20)


def test_written_png_comes_back_with_its_text(tmp_path):
    text = {"seed": "7", "Grüße": "κλ"} | {"parents": "a;b"}
    write_png(tmp_path / "new" / "a.png", GREY, {**text})
    write_png(tmp_path / "b.png", RED_GREEN)
    assert np.array_equal(read_gray(tmp_path / "new" / "a.png"), GREY)
    assert np.array_equal(read_color(tmp_path / "b.png"), RED_GREEN)
    with Image.open(tmp_path / "new" / "a.png") as image:
        assert image.text == text
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.png"]


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 64))
@settings(max_examples=60, deadline=None)
def test_letterbox_keeps_the_image_whole_and_comes_back(height, width, size):
    box = letterbox_of(height, width, size)
    square = letterbox(np.full((height, width), 77, np.uint8), size)
    assert square.shape == (size, size)
    assert np.count_nonzero(square == 77) == box.inner_height * box.inner_width
    assert np.count_nonzero(square) == np.count_nonzero(square == 77)
    back = unletterbox(square.astype(np.float32), box)
    assert back.shape == (height, width)
    assert np.allclose(back, 77)
