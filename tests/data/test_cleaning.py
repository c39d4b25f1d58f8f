"""Marks are painted over where they are, in every image read inside `cleaned`, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sonobalance.config import Settings
from sonobalance.data.audit.marks import find_marks
from sonobalance.data.cleaning import clean_marks, cleaned, cleaning
from sonobalance.data.guard import reading_only
from sonobalance.data.images import (
    Color,
    Gray,
    letterbox,
    read_color,
    read_gray,
    read_upload,
    write_png,
)
from sonobalance.data.manifest import Manifest, Record
from sonobalance.deployment.batch import read_frames
from sonobalance.errors import LeakError
from sonobalance.runs import Run
from sonobalance.service.decoding import decode_upload
from sonobalance.stages import STAGES, _of_networks


def scan(seed: int = 0) -> Gray:
    """Laterally smooth speckle, as a beam makes it."""
    rng = np.random.default_rng(seed)
    speckle = cv2.GaussianBlur(rng.normal(size=(300, 380)), (0, 0), 2.2, sigmaY=1.0)
    return np.clip(90 + speckle * 180, 0, 190).astype(np.uint8)


def color(image: Gray) -> Color:
    return np.repeat(image[..., None], 3, axis=2)


def marked(seed: int = 5) -> tuple[Gray, Gray]:
    before = scan(seed)
    image = before.copy()
    cv2.putText(image, "LT AXILLA", (120, 150), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 250, 1)
    for x, y in ((100, 220), (220, 230)):
        cv2.drawMarker(image, (x, y), 250, cv2.MARKER_CROSS, 11, 1)
    return before, image


def test_cleaning_removes_the_strokes_and_leaves_the_rest() -> None:
    before, image = marked()
    after = clean_marks(image)
    drawn = image != before
    worst = np.abs(image.astype(int) - before)[drawn].mean()
    assert np.abs(after.astype(int) - before)[drawn].mean() < 0.4 * worst
    assert (after[:100] == before[:100]).all()
    assert find_marks(color(after)).found == ()


def test_coloured_overlays_are_painted_over_but_not_a_colour_map() -> None:
    before = scan(3)
    image = color(before)
    cv2.rectangle(image, (100, 60), (250, 180), (230, 230, 40), 1)
    cv2.circle(image, (160, 120), 9, (230, 30, 20), -1)
    drawn = (image != color(before)).any(axis=2)
    after = clean_marks(image)
    assert np.abs(after.astype(int) - before)[drawn].mean() < 40
    tinted = (color(before) * np.array([1.0, 0.7, 0.4])).astype(np.uint8)
    assert (clean_marks(tinted) == cv2.cvtColor(tinted, cv2.COLOR_RGB2GRAY)).all()


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (12, 5), (40, 40)])
def test_unmarked_and_tiny_images_come_back_as_they_are(shape: tuple[int, int]) -> None:
    image = np.full(shape, 200, np.uint8)
    assert (clean_marks(image) == image).all()
    assert (clean_marks(scan(1)) == scan(1)).all()


def test_every_reading_inside_is_cleaned_and_none_outside(tmp_path: Path) -> None:
    _, image = marked()
    write_png(tmp_path / "a.png", image)
    write_png(tmp_path / "made" / "b.png", image)
    content = (tmp_path / "a.png").read_bytes()
    with cleaned(True, leave=[tmp_path / "made"]):
        assert cleaning()
        assert (read_gray(tmp_path / "a.png") == clean_marks(image)).all()
        assert (read_upload(content)[0] == clean_marks(image)).all()
        assert (read_gray(tmp_path / "made" / "b.png") == image).all()
        assert (read_color(tmp_path / "a.png")[..., 0] == image).all()  # the audit looks at marks
        with cleaned(True):  # as another thread of the same process would
            assert (read_gray(tmp_path / "a.png") == clean_marks(image)).all()
    assert not cleaning()
    with cleaned(False):
        assert (read_gray(tmp_path / "a.png") == image).all()


def test_the_guard_is_asked_before(tmp_path: Path) -> None:
    for name in "ab":
        write_png(tmp_path / f"{name}.png", scan())
    allowed = Manifest((Record("a", "a.png", "x"),), tmp_path)
    with cleaned(True), reading_only(allowed):
        read_gray(tmp_path / "a.png")
        with pytest.raises(LeakError):
            read_gray(tmp_path / "b.png")


@pytest.mark.parametrize("name", ["train-gan", "synthesize", "train", "predict", "explain"])
@pytest.mark.parametrize("active", [True, False])
def test_every_stage_whose_networks_read_images_respects_the_setting(
    name: str, active: bool, tmp_path: Path
) -> None:
    """A stage that learns is stale when the setting changes; one that asks follows the training."""
    _, image = marked()
    write_png(tmp_path / "a.png", image)
    write_png(tmp_path / "synthesis" / "b.png", image)
    seen: list[Gray] = []

    def work(run: Run) -> None:
        seen.extend(read_gray(run.path(file)) for file in ("a.png", "synthesis/b.png"))

    stage, learns = STAGES[name], name not in ("predict", "explain")
    assert ("clean_marks" in stage.settings) is learns
    assert stage.work.__qualname__ == name.replace("-", "_")
    assert stage.work.__code__ is _of_networks(work).__code__
    assert (None if learns else "train") in [c.cell_contents for c in stage.work.__closure__]
    then = {"train": {"fingerprint": {"settings": {"clean_marks": active}}}}
    run = Run(tmp_path, Settings(clean_marks=active is learns), {"stages": then})
    _of_networks(work, None if learns else "train")(run)
    assert (seen[0] == (clean_marks(image) if active else image)).all()
    assert (seen[1] == image).all()
    assert not cleaning()


def test_a_bundle_of_cleaned_images_reads_new_ones_the_same_way(tmp_path: Path) -> None:
    _, image = marked()
    write_png(tmp_path / "a.png", image)
    (frame,) = read_frames(tmp_path / "a.png", 64, 1, clean=True)
    assert frame.square is not None
    assert (frame.square == letterbox(clean_marks(image), 64)).all()
    decoded = decode_upload((tmp_path / "a.png").read_bytes(), 64, 1.0, preview=False, clean=True)
    assert not isinstance(decoded, str)
    assert (decoded.square == frame.square).all()
