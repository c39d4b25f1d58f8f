import base64

import cv2
import numpy as np
import pytest

from sonobalance.data.images import letterbox
from sonobalance.data.manifest import Record
from sonobalance.reporting.pictures import data_uri, fit, overlay, scan, square


@pytest.fixture
def one(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (60, 90), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    return image, {"a": (tmp_path / "a.png", Record("a", "a.png", "benign"))}


def pixels(uri):
    data = np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)


def test_small_squares_are_exactly_what_the_generator_sees(one):
    image, images = one
    shown = square(images, "a", 32, "Real image")
    np.testing.assert_array_equal(pixels(shown.uri), letterbox(image, 32))
    assert shown.alt == "Real image a"


def test_scans_shrink_but_never_grow(one):
    _, images = one
    assert (scan(images, "a", 45).width, scan(images, "a", 45).height) == (45, 30)
    assert (scan(images, "a", 500).width, scan(images, "a", 500).height) == (90, 60)
    assert scan(images, "a", 45).alt == "Ultrasound image a, class benign"


def test_a_file_that_is_gone_leaves_its_place(one, tmp_path):
    _, images = one
    (tmp_path / "a.png").unlink()
    for shown in (
        scan(images, "a", 45),
        square(images, "b", 32, "Real"),
        overlay(tmp_path, 9, "x"),
    ):
        assert shown.uri == ""
        assert "not available" in shown.alt


def test_colours_keep_their_order():
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    blue_green_red = pixels(data_uri(red, "png"))[0, 0]
    assert blue_green_red.tolist() == [0, 0, 255]


def test_fit_keeps_at_least_one_pixel():
    assert fit(np.zeros((1, 500), np.uint8), 100).shape == (1, 100)
