"""What is not of the training kind is refused, what is passes; distances are Mahalanobis'."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sonobalance.classify.colour import colour_share, colours_of, with_colour
from sonobalance.classify.features import model_features
from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.stranger import (
    LIMIT,
    Gaussian,
    Stranger,
    fit_stranger,
    statistics_of,
)
from sonobalance.data.cleaning import cleaned
from sonobalance.data.images import letterbox, read_gray
from sonobalance.data.loading import LabelledImages
from sonobalance.data.manifest import Manifest, Record
from sonobalance.data.phantoms import make_phantoms
from sonobalance.errors import InputError

SIDE = 64


def chest_x_ray(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Two dark lungs in a bright body, ribs across, smooth as radiographs are."""
    y, x = np.mgrid[-1:1:256j, -1:1:256j]
    body = 0.75 - 0.15 * x**2
    for side in (-0.42, 0.42):
        body -= 0.5 * np.exp(-((((x - side) / 0.3) ** 2 + (y / 0.65) ** 2) ** 2))
    body += 0.06 * np.sin(18 * y + 6 * np.abs(x)) * (np.abs(y) < 0.7)
    body += 0.3 * np.exp(-((x / 0.09) ** 2)) + 0.01 * rng.standard_normal(body.shape)
    return (cv2.GaussianBlur(body, (0, 0), 1.5).clip(0, 1) * 255).astype(np.uint8)


def photograph(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Sky, grass and a round orange animal with ears: saturated and with sharp outlines."""
    picture = np.zeros((240, 320, 3), np.uint8)
    picture[:140], picture[140:] = (120, 180, 240), (60, 160, 50)
    cv2.circle(picture, (160, 140), 70, (230, 140, 40), -1)
    for ear in ((110, 80), (210, 80)):
        cv2.circle(picture, ear, 22, (230, 140, 40), -1)
    noisy = picture + rng.integers(-12, 13, picture.shape)
    return noisy.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> list[NDArray[np.uint8]]:
    folder = make_phantoms(tmp_path_factory.mktemp("data") / "p", images=240, size_px=96, seed=3)
    files = [p for p in sorted(folder.glob("*/*.png")) if "_mask" not in p.name]
    order = np.random.default_rng(0).permutation(len(files))
    return [read_gray(files[i]) for i in order]


@pytest.fixture(scope="module")
def network() -> AttentiveClassifier:
    torch.manual_seed(0)
    return AttentiveClassifier("test_resnet", 3, image_size_px=SIDE).eval()


def seen(network: AttentiveClassifier, images: list[NDArray[np.uint8]]):  # type: ignore[no-untyped-def]
    pixels = torch.from_numpy(np.stack([letterbox(image, SIDE)[None] for image in images]))
    given = LabelledImages(pixels, torch.zeros(len(images), dtype=torch.int64),
                           tuple(map(str, range(len(images)))), ("a", "b", "c"))  # fmt: skip
    return model_features(network, given, image_size_px=SIDE), pixels


@pytest.fixture(scope="module")
def stranger(network: AttentiveClassifier, phantoms: list[NDArray[np.uint8]]) -> Stranger:
    return fit_stranger(*seen(network, phantoms[:130]), *seen(network, phantoms[130:180]))


def test_images_of_the_same_kind_pass(stranger, network, phantoms) -> None:  # type: ignore[no-untyped-def]
    rest = phantoms[180:]
    assert (stranger.scores(*seen(network, rest)) <= LIMIT).mean() >= 0.95


def test_strangers_are_refused(stranger, network) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    photo = photograph(rng)
    strangers = {
        "black frame": np.zeros((200, 260), np.uint8),
        "white frame": np.full((200, 260), 255, np.uint8),
        "noise": rng.integers(0, 256, (200, 260)).astype(np.uint8),
        "chest x-ray": chest_x_ray(rng),
        "photograph in grey": cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY),
        "page of text": text_page(),
    }
    scores = stranger.scores(*seen(network, list(strangers.values())))
    assert {name for name, s in zip(strangers, scores, strict=True) if s <= LIMIT} == set()
    assert ((scores >= 0) & (scores < 1)).all()


def text_page() -> NDArray[np.uint8]:
    page = np.full((300, 220), 255, np.uint8)
    for line in range(20, 290, 16):
        cv2.putText(page, "report of the", (10, line), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 0, 1)
    return page


def test_colour_alone_is_enough_to_refuse(stranger, network, phantoms) -> None:  # type: ignore[no-untyped-def]
    photo = photograph(np.random.default_rng(0))
    features, pixels = seen(network, phantoms[:1])
    assert stranger.scores(features, pixels, [0.0])[0] <= LIMIT
    assert stranger.scores(features, pixels, [colour_share(photo)])[0] > LIMIT
    marked = np.repeat(phantoms[0][:, :, None], 3, 2)
    marked[5:8, 5:20] = (250, 250, 40)  # a yellow caliper
    assert stranger.scores(features, pixels, [colour_share(marked)])[0] <= LIMIT
    assert colour_share(phantoms[0]) == 0


def flow(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A colour Doppler window over a grey image: red and blue flow in a tenth of it."""
    picture = np.repeat(gray[:, :, None], 3, 2)
    height, width = gray.shape
    for column, tint in ((0.4, (200, 30, 20)), (0.6, (20, 60, 210))):
        axes = (round(0.15 * width), round(0.12 * height))
        cv2.ellipse(picture, (round(column * width), height // 2), axes, 0, 0, 360, tint, -1)
    return picture


def marked(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A grey image saved in colours, with calipers, a measuring line and text in full colour."""
    picture = np.repeat(gray[:, :, None], 3, 2)
    size = len(picture)
    for place in ((0.3, 0.4), (0.7, 0.6)):
        at = (round(place[0] * size), round(place[1] * size))
        cv2.drawMarker(picture, at, (255, 255, 0), cv2.MARKER_CROSS, size // 16, 1)
    cv2.line(picture, (round(0.3 * size), round(0.4 * size)),
             (round(0.7 * size), round(0.6 * size)), (0, 255, 0), 1)  # fmt: skip
    cv2.putText(picture, "D1 12mm", (3, size - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.3, (0, 200, 255), 1)
    return picture


def test_doppler_is_coloured_and_calipers_are_not(stranger, phantoms) -> None:  # type: ignore[no-untyped-def]
    calipers = [colour_share(marked(image)) for image in phantoms[180:]]
    dopplers = [colour_share(flow(image)) for image in phantoms[180:]]
    assert 0 < max(calipers) < 0.04
    assert (stranger.colour_scores(calipers) < LIMIT).all()
    assert (stranger.colour_scores(dopplers) > LIMIT).all()


def test_a_set_of_tinted_images_does_not_find_tint_strange(network, phantoms) -> None:  # type: ignore[no-untyped-def]
    tinted = fit_stranger(
        *seen(network, phantoms[:40]), *seen(network, phantoms[40:80]), np.full(40, 0.8)
    )
    assert tinted.colour_scores([0.8])[0] <= LIMIT < tinted.colour_scores([0.95])[0]


def test_files_from_before_do_not_judge_colour(stranger) -> None:  # type: ignore[no-untyped-def]
    tensors = stranger.tensors()
    del tensors["colour"]
    assert Stranger.of_tensors(tensors, "a file").colour_scores([1.0])[0] == 0


def test_colour_is_noted_while_the_image_is_read_as_ever(tmp_path, phantoms) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "marked.png"
    picture = marked(phantoms[0])
    cv2.imwrite(str(path), picture[..., ::-1])
    for clean in (False, True):
        gray, colour = with_colour(lambda: read_gray(path), clean=clean)
        with cleaned(clean):
            assert (gray == read_gray(path)).all()
        assert colour == colour_share(picture)
    cv2.imwrite(str(path), phantoms[0])
    assert with_colour(lambda: read_gray(path))[1] == 0
    assert colours_of(Manifest((Record("a", path.name, "benign"),), tmp_path)).tolist() == [0.0]


def test_distances_are_mahalanobis_where_all_directions_are_kept() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4)) @ rng.normal(size=(4, 4))
    gaussian = Gaussian.of(x, 3)  # the fourth direction is the rest
    new = rng.normal(size=(20, 4))
    inverse = np.linalg.inv(np.cov(x.T))
    expected = np.einsum("ni,ij,nj->n", new - x.mean(0), inverse, new - x.mean(0))
    np.testing.assert_allclose(gaussian.distances(new) ** 2 * 4, expected, rtol=1e-6)


def test_it_comes_back_from_its_tensors(stranger, network, phantoms) -> None:  # type: ignore[no-untyped-def]
    tensors = stranger.tensors()
    again = Stranger.of_tensors(tensors, "a file")
    given = seen(network, phantoms[:5])
    np.testing.assert_allclose(again.scores(*given), stranger.scores(*given), atol=1e-5)
    for damaged in ({}, tensors | {"features.scale": np.ones(3)}):
        with pytest.raises(InputError, match="a file to say what a classifier finds familiar"):
            Stranger.of_tensors(damaged, "a file")


def test_too_few_images_are_refused(network, phantoms) -> None:  # type: ignore[no-untyped-def]
    features, pixels = seen(network, phantoms[:3])
    with pytest.raises(InputError, match="at least 4 TRAIN"):
        fit_stranger(features, pixels, features, pixels)


def test_the_statistics_are_finite_on_a_black_frame() -> None:
    assert np.isfinite(statistics_of(torch.zeros(1, 1, 32, 32, dtype=torch.uint8))).all()
