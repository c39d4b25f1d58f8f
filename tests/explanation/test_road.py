"""Imputation against a dense solution by hand, and against an independent implementation."""

import numpy as np
import pytest
import torch

from sonobalance.explanation.road import imputed


@pytest.fixture
def image():
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (12, 9)).astype(np.float32)


def test_one_missing_pixel_is_the_weighted_mean_of_its_neighbours(image):
    missing = np.zeros(image.shape, bool)
    missing[5, 4] = True
    block = image[4:7, 3:6]
    sides, corners = block[[0, 1, 1, 2], [1, 0, 2, 1]], block[[0, 0, 2, 2], [0, 2, 0, 2]]
    found = imputed(image, missing)
    assert found[5, 4] == pytest.approx(sides.sum() / 6 + corners.sum() / 12, abs=1e-3)
    assert np.array_equal(found[~missing], image[~missing])


def test_a_corner_has_fewer_neighbours(image):
    missing = np.zeros(image.shape, bool)
    missing[0, 0] = True
    expected = (2 * (image[0, 1] + image[1, 0]) + image[1, 1]) / 5
    assert imputed(image, missing)[0, 0] == pytest.approx(expected, abs=1e-3)


def test_nothing_and_everything_missing(image):
    assert np.array_equal(imputed(image, np.zeros(image.shape, bool)), image)
    assert np.allclose(imputed(image, np.ones(image.shape, bool)), image.mean())


def test_a_plane_is_continued_and_noise_is_added_where_pixels_are_missing():
    y, x = np.mgrid[:16, :16]
    plane = (0.04 * x - 0.03 * y).astype(np.float32)
    missing = np.zeros(plane.shape, bool)
    missing[4:10, 5:12] = True
    assert np.allclose(imputed(plane, missing), plane, atol=5e-3)
    noise = np.full(plane.shape, 0.1)
    assert np.allclose(imputed(plane, missing, noise) - plane, 0.1 * missing, atol=5e-3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # theirs, of NumPy
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_equals_the_library_of_another_hand(share):
    """The imputer of the package grad-cam, which comes from the authors of ROAD."""
    road = pytest.importorskip("pytorch_grad_cam.metrics.road", reason="grad-cam is not installed")
    rng = np.random.default_rng(1)
    image = rng.uniform(-1, 1, (24, 24)).astype(np.float32)
    missing = rng.uniform(size=image.shape) < share
    theirs = road.NoisyLinearImputer(noise=0)(
        torch.from_numpy(image)[None], torch.from_numpy(~missing).float()
    )
    assert np.allclose(imputed(image, missing), theirs[0].numpy(), atol=5e-3)
