"""The maps equal those of an independent implementation, the package grad-cam of Jacob Gildenblat.

It needs a second build of OpenCV, so it is no dependency of the tests: install it by hand with
`pip install --no-deps grad-cam ttach`.
"""

import cv2
import numpy as np
import pytest
import torch
from toy_networks import convolutional

from sonobalance.explanation.cam import (
    evidence_of,
    explaining,
    grad_cam,
    grad_cam_plus_plus,
    hires_cam,
    layer_cam,
)
from sonobalance.explanation.layers import Layer

theirs = pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed")
PAIRS = {
    "GradCAM": grad_cam, "HiResCAM": hires_cam, "LayerCAM": layer_cam,
    "GradCAMPlusPlus": grad_cam_plus_plus,
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("at", [2, 6])
def test_maps_equal_those_of_another_hand(name, at):
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model, images = convolutional(), torch.randn(3, 1, 16, 16)
    model[9].weight.data *= 1e4  # theirs add 1e-6 to a denominator
    classes = [0, 2, 1]
    with explaining(model):
        found = evidence_of(model, Layer("x", model[at]), images, torch.tensor(classes))
    cam = getattr(theirs, name)(model, [model[at]])
    with cam:
        other = cam(images.clone(), [ClassifierOutputTarget(k) for k in classes])
    for ours, image in zip(PAIRS[name](found), other, strict=True):
        enlarged = unit(cv2.resize(unit(ours[0].relu().numpy()), (16, 16)))
        assert np.allclose(enlarged, image, atol=1e-4), name


def unit(map_):
    """Theirs are cut at 0 and scaled to [0, 1], before and after they are enlarged."""
    return (map_ - map_.min()) / (1e-7 + np.ptp(map_))
