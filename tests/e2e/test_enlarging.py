"""A run with pretrained weights enlarges its synthetic images, trains with them and shows them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from tiny_benchmark import TINY

from sonobalance import BalancedDataset, api
from sonobalance.artefacts import LARGE, synthetic_of
from sonobalance.config import Settings
from sonobalance.data.manifest import read_manifest
from sonobalance.data.phantoms import make_phantoms
from sonobalance.errors import InputError
from sonobalance.runs import open_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("enlarging")
    phantoms = make_phantoms(folder / "phantoms", images=72, size_px=64)
    weights = folder / "weights.safetensors"
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), weights)
    settings = Settings.model_validate(TINY | {
        "arms": ["over-sampling", "dual-iterative"],
        "synthesis": TINY["synthesis"] | {"enlarger_kimg": 0.08},
        "classifier": TINY["classifier"] | {"image_size_px": 48, "weights": weights},
    })  # fmt: skip
    api.run(phantoms, out=folder / "run", preset="demo", settings=settings)
    return folder / "run"


def test_accepted_images_have_the_side_of_the_classifier(finished: Path) -> None:
    drawn = sorted((finished / "synthesis/images").rglob("*.png"))
    large = sorted((finished / "synthesis" / LARGE).rglob("*.png"))
    assert [p.name for p in large] == [p.name for p in drawn] != []
    for path, side in ((drawn[0], 32), (large[0], 48)):
        with Image.open(path) as image:
            assert image.size == (side, side)
    run = open_run(finished)
    made = synthetic_of(run, "dual-iterative", 48, ("benign", "malignant", "normal"))
    assert made is not None
    assert len(made) == len(large)
    handed = BalancedDataset(finished, size_px=48, every_round=True)
    assert int(handed.synthetic.sum()) == len(large)
    assert set(made.ids) <= set(handed.ids)
    first = handed.ids.index(made.ids[0])
    assert torch.equal((handed[first][0] * 255).round().to(torch.uint8), made.pixels[0])


def test_images_are_made_again_from_their_record_as_they_were_drawn(finished: Path) -> None:
    name = next((finished / "synthesis/images").rglob("*.png")).stem
    assert api.regenerate(name, finished) == 0


def test_the_exported_set_has_the_enlarged_images_and_they_can_be_made_again(
    finished: Path, tmp_path: Path
) -> None:
    api.export(finished, out=tmp_path / "large", every_round=True)
    api.export(finished, out=tmp_path / "drawn", every_round=True, drawn=True)
    for name, side in (("large", 48), ("drawn", 32)):
        rows = read_manifest(tmp_path / name / "index.csv", tmp_path / name)
        made = next(r for r in rows if r.origin == "synthetic")
        assert (made.width, made.height) == (side, side)
        with Image.open(rows.file(made)) as image:
            assert image.size == (side, side)
        assert api.regenerate(made.id, tmp_path / name, bundle=finished) == 0
        sheet = (tmp_path / name / "DATASHEET.md").read_text(encoding="utf-8")
        assert ("enlarged to the side of a classifier" in sheet) == (name == "large")
    without = shutil.copytree(finished / "synthesis/bundle", tmp_path / "bundle")
    (without / "enlarger.safetensors").unlink()
    with pytest.raises(InputError, match="Expected the enlarger"):
        api.regenerate(made.id, tmp_path / "large", bundle=without)


def test_the_report_shows_them_as_the_classifier_sees_them(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "at the 48 × 48 pixels that the classifier sees: generated at 32 × 32" in page


def test_a_finished_run_goes_on_where_it_ended(finished: Path) -> None:
    before = (finished / "synthesis/enlarger.safetensors").stat().st_mtime_ns
    run = open_run(finished)
    api.run(run.source, out=finished, preset="demo", settings=run.settings)
    assert (finished / "synthesis/enlarger.safetensors").stat().st_mtime_ns == before
