"""ONNX says what torch says, and needs neither torch nor sonobalance to say it."""

from __future__ import annotations

import json
import math
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_bundle import BACKBONE, SIDE
from PIL import Image

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.zoom import lesion_centres
from sonobalance.data.images import letterbox, read_gray
from sonobalance.data.loading import to_unit
from sonobalance.deployment import onnx_export
from sonobalance.errors import InputError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

EXAMPLE = Path(__file__).parents[2] / "examples" / "onnx_only.py"
WITHOUT = """
import runpy, sys
BLOCKED = {"torch", "torchvision", "sonobalance", "cv2", "timm", "scipy", "pandas"}
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Block())
try:
    import torch
except ImportError:
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory, whole):
    """The file, and the predictor it was made from."""
    from sonobalance.deployment.predictor import BundlePredictor

    predictor = BundlePredictor.load(whole)
    out = tmp_path_factory.mktemp("onnx") / "model.onnx"
    return out, predictor, onnx_export.export_onnx_file(predictor, out)


def test_a_hundred_phantoms_get_the_same_answer(exported):
    path, predictor, worst = exported
    assert worst <= 1e-5
    squares = onnx_export.phantom_squares(predictor, 100)
    assert len(np.unique(squares, axis=0)) == 100
    assert onnx_export.difference(predictor, path, squares) == worst


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_batch(exported, count):
    path, predictor, _ = exported
    squares = np.random.default_rng(0).integers(0, 256, (count, 32, 32), np.uint8)
    assert onnx_export.difference(predictor, path, squares) <= 1e-5


def test_a_second_look_at_the_lesion_goes_where_each_image_has_one(predictor, tmp_path):
    torch.manual_seed(0)
    model = AttentiveClassifier(
        BACKBONE, 3, image_size_px=SIDE, lesion_attention=True, zoom=1.5, zoom_on="lesion"
    ).eval()
    assert model.lesion is not None
    torch.nn.init.normal_(model.lesion.draw.weight, std=0.3)
    torch.nn.init.zeros_(model.lesion.draw.bias)
    seeing, path = replace(predictor, model=model, reference=None), tmp_path / "look.onnx"
    assert onnx_export.export_onnx_file(seeing, path) <= 1e-5
    squares = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE), np.uint8)
    assert onnx_export.difference(seeing, path, squares) <= 1e-5
    centres = lesion_centres(model._look(to_unit(torch.from_numpy(squares[:, None]))).outline)
    assert centres.std(0).min() > 0.01  # not the middle of all


def test_a_second_look_at_the_middle_has_an_onnx_form(predictor, tmp_path):
    model = AttentiveClassifier(BACKBONE, 3, image_size_px=SIDE, zoom=1.3).eval()
    seeing = replace(predictor, model=model, reference=None)
    assert onnx_export.export_onnx_file(seeing, tmp_path / "look.onnx") <= 1e-5


def test_the_file_names_its_opset_and_says_what_it_is(exported):
    model = onnx.load(exported[0])
    assert [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")] == [20]
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(about["classes"]) == list(exported[1].classes)
    assert "not a medical device" in about["notice"]
    assert about["bundle_sha256"] == exported[1].digest


def test_the_example_runs_without_torch_and_gives_the_same_numbers(exported, tmp_path):
    path, predictor, _ = exported
    rng = np.random.default_rng(0)
    smooth = np.asarray(Image.fromarray(rng.integers(0, 256, (9, 7), np.uint8)).resize((61, 83)))
    images = {
        "grey.png": smooth, "small.png": smooth[:20, :11], "odd.png": smooth[:31, :],
        "deep.png": smooth.astype(np.uint16) * 16,
        "colour.png": np.stack([smooth, smooth[::-1], 255 - smooth], 2),
        "clear.png": np.stack([smooth, smooth, smooth, smooth[::-1]], 2),
    }  # fmt: skip
    files = []
    for name, pixels in images.items():
        Image.fromarray(pixels).save(tmp_path / name)
        files.append(str(tmp_path / name))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(EXAMPLE), str(path), *files],
        capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(files), done.stderr
    for file, line in zip(files, lines, strict=True):
        answer = predictor.answers(predictor.squares([read_gray(Path(file))]))[0]
        assert line["probabilities"] == pytest.approx(answer.probabilities, abs=1e-5)
        assert "not a medical device" in line["notice"]


def test_the_example_letterboxes_bit_for_bit_as_the_package():
    ours = runpy.run_path(str(EXAMPLE))["letterbox"]
    rng = np.random.default_rng(0)
    for _ in range(60):
        height, width = rng.integers(8, 400, 2)
        image = rng.integers(0, 256, (height, width), np.uint8)
        size = int(rng.choice([32, 160, 224]))
        assert (ours(image, size) == letterbox(image, size)).all(), (height, width, size)


def test_int8_is_smaller_and_its_change_is_measured(exported, tmp_path):
    path, predictor, _ = exported
    small = tmp_path / "int8.onnx"
    onnx_export.quantised_file(path, small)
    assert small.stat().st_size < 0.7 * path.stat().st_size
    change = onnx_export.difference(predictor, small, onnx_export.phantom_squares(predictor, 10))
    assert 0 < change < 0.2


@pytest.mark.parametrize("worst", [2e-5, math.nan])
def test_an_answer_that_differs_leaves_no_file(exported, tmp_path, monkeypatch, worst):
    monkeypatch.setattr(onnx_export, "difference", lambda *_: worst)
    monkeypatch.setattr(onnx_export, "_export", lambda _predictor: onnx.load(exported[0]))
    with pytest.raises(InputError, match="repeat torch"):
        onnx_export.export_onnx_file(exported[1], tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())
