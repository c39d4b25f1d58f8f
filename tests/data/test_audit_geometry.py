"""Features, transforms and agreement on small speckle images with known relations."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sonobalance.data.audit.agreement import agree
from sonobalance.data.audit.evidence import compare, likelihood
from sonobalance.data.audit.features import MIRROR, Features, describe, mirrored
from sonobalance.data.audit.geometry import Transform, consensus
from sonobalance.data.audit.shortlist import nearest, shortlist
from sonobalance.data.images import Gray

SIDE = 256


def tissue(seed: int, height: int = SIDE, width: int = 300) -> Gray:
    """Speckle on a few smooth layers and a dark lesion."""
    rng = np.random.default_rng(seed)
    layers = cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), 9, sigmaY=5) * 500
    structure = cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), 4, sigmaY=2) * 180
    speckle = cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), 1.5, sigmaY=0.8) * 40
    image = 110 + layers + structure + speckle
    centre = tuple(int(v) for v in rng.integers(90, 170, 2))
    cv2.ellipse(image, centre, (30, 20), 0, 0, 360, 30, -1)
    return np.clip(image, 0, 255).astype(np.uint8)


def look(image: Gray) -> Features:
    return describe(image, np.zeros(image.shape, np.bool_), 160, 150)


VARIANTS = {
    "gain": lambda image: np.clip(image * 0.7 + 30, 0, 255).astype(np.uint8),
    "crop": lambda image: image[30:220, 40:260],
    "small": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "stretched": lambda image: cv2.resize(image, None, fx=1.0, fy=0.9),
    "jpeg": lambda image: cv2.imdecode(
        cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_GRAYSCALE
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_changed_copy_is_recognised(name: str) -> None:
    image = tissue(1)
    evidence = compare(look(image), look(VARIANTS[name](image)), mirror=False)
    assert likelihood(evidence) > 0.9
    assert evidence.correlation > 0.6


def test_a_mirrored_copy_is_recognised_as_mirrored_only() -> None:
    image = tissue(2)
    turned = np.ascontiguousarray(image[:, ::-1])
    assert likelihood(compare(look(image), look(turned), mirror=True)) > 0.9
    assert likelihood(compare(look(image), look(turned), mirror=False)) < 0.5


def test_different_tissue_is_not_alike() -> None:
    looks = [look(tissue(seed)) for seed in range(10, 18)]
    scores = [
        likelihood(compare(looks[i], looks[j], mirror=m))
        for i in range(8) for j in range(i + 1, 8) for m in (False, True)
    ]  # fmt: skip
    assert max(scores) < 0.5


def test_the_transform_of_a_crop_is_found() -> None:
    image = tissue(3)
    evidence = compare(look(image), look(image[20:220, 50:300]), mirror=False)
    found = evidence.transform
    assert found is not None
    scale = 300 / 250  # both are shown with their longer side at the same length
    assert found.scale_x == pytest.approx(scale, rel=0.02)
    assert found.shift_x == pytest.approx(-50 * 192 / 250, abs=2)
    assert found.shift_y == pytest.approx(-20 * 192 / 250, abs=2)
    assert evidence.overlap > 0.97
    assert not evidence.same_frame


def test_mirrored_descriptors_are_those_of_the_mirror_image() -> None:
    image = tissue(4)
    sift = cv2.SIFT.create()
    point, width = (140.0, 100.0), image.shape[1]
    _, own = sift.compute(image, [cv2.KeyPoint(*point, 14.0, 0.0)])
    turned = np.ascontiguousarray(image[:, ::-1])
    _, other = sift.compute(turned, [cv2.KeyPoint(width - 1 - point[0], point[1], 14.0, 0.0)])
    assert np.abs(own[0][MIRROR] - other[0]).max() <= 3
    codes = np.random.default_rng(0).integers(0, 255, (5, 128), dtype=np.uint8)
    assert (mirrored(mirrored(codes)) == codes).all()


def test_consensus_ignores_wrong_matches() -> None:
    rng = np.random.default_rng(5)
    source = rng.uniform(0, 180, (30, 2)).astype(np.float32)
    truth = Transform(1.3, 1.2, 10, -5)
    target = truth.apply(source)
    target[20:] = rng.uniform(0, 200, (10, 2))
    found = consensus(source, target)
    assert found is not None
    transform, inside = found
    assert inside[:20].all()
    assert transform.scale_x == pytest.approx(1.3, abs=0.03)
    assert transform.scale_y == pytest.approx(1.2, abs=0.03)


def test_blocks_agree_with_themselves_everywhere_and_not_with_others() -> None:
    own, other = look(tissue(6)), look(tissue(7))
    same = agree(own, own, Transform(1, 1, 0, 0))
    assert same.coherent == same.blocks > 40
    assert same.correlation == pytest.approx(1, abs=1e-3)
    assert agree(own, other, Transform(1, 1, 0, 0)).coherent < 0.2 * same.blocks


def test_marked_pixels_carry_no_features() -> None:
    image = tissue(8)
    marked = np.zeros(image.shape, np.bool_)
    marked[:, 150:] = True
    features = describe(image, marked, 160, 150)
    assert len(features.points) > 20
    assert features.points[:, 0].max() < 150 * 192 / 300 + 2
    assert (features.thumbnail[:, 100:] == 0).all()


def test_blank_and_tiny_images_have_no_features_and_no_evidence() -> None:
    blank = look(np.full((40, 40), 7, np.uint8))
    tiny = look(np.zeros((3, 2), np.uint8))
    assert len(blank.points) == 0
    assert likelihood(compare(blank, tiny, mirror=False)) == 0


def test_nearest_equals_a_full_sort() -> None:
    rng = np.random.default_rng(9)
    rows = rng.normal(size=(50, 8)).astype(np.float32)
    likeness = rows @ rows.T
    np.fill_diagonal(likeness, -np.inf)
    expected = np.sort(np.argsort(-likeness, axis=1)[:, :4], axis=1)
    assert (np.sort(nearest(rows, rows, 4), axis=1) == expected).all()


def test_the_shortlist_holds_the_copies_of_a_larger_set() -> None:
    images = [tissue(seed, 128, 150) for seed in range(20, 50)]
    images.append(images[3][10:110, 5:140])
    images.append(np.ascontiguousarray(images[7][:, ::-1]))
    listed = shortlist([look(image) for image in images], 4, seed=0)
    assert {(3, 30, 0), (7, 31, 1)} <= {tuple(row) for row in listed.tolist()}
    assert len(listed) < 31 * 32
    assert (listed[:, 0] < listed[:, 1]).all()
    again = shortlist([look(image) for image in images], 4, seed=0, workers=2)
    assert (listed == again).all()
