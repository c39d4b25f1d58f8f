"""Masks that the generator draws with its images: made again bit by bit, and handed on."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from growth_stubs import DIVERSE, with_enlarger
from mask_files import inside, masks_of, rows_of
from PIL import Image
from torchvision.transforms import v2

from sonobalance import BalancedDataset, export, runs, sample
from sonobalance.artefacts import synthetic_of
from sonobalance.config import DataSettings
from sonobalance.data.images import read_gray, write_png
from sonobalance.data.manifest import read_manifest
from sonobalance.data.sources import index_folder
from sonobalance.gan.sampling import Sampler
from sonobalance.synthesis import datasheet
from sonobalance.synthesis.image_folders import find_images
from sonobalance.synthesis.masks import samplers_in, with_masks, write_masks
from sonobalance.synthesis.regenerate import regenerate, text_of
from sonobalance.synthesis.summary import training_images

CPU = torch.device("cpu")
SMALL, LARGE = 32, 96


@pytest.fixture
def enlarged_run(masked_run):
    """The run, whose images stand at the classifier's side as well."""
    for path in (masked_run / "synthesis/images").rglob("*.png"):
        large = np.asarray(Image.fromarray(read_gray(path)).resize((LARGE, LARGE)))
        write_png(
            masked_run / "synthesis/large" / path.parent.name / path.name, large,
            text_of(path) | {"enlarger": "toy"},
        )  # fmt: skip
    return masked_run


def enlarged(mask):
    """(SMALL, SMALL) to (LARGE, LARGE), each pixel as a square."""
    return np.kron(mask, np.ones((LARGE // SMALL,) * 2)) > 0


def mask_of(masked_run, key):
    """As the synthesis keeps it."""
    return next((Path(masked_run) / "synthesis/masks").rglob(f"{key}.png"))


def test_each_accepted_image_has_the_mask_that_was_drawn_with_it(drawn_masks):
    folder = drawn_masks.folder
    assert masks_of(folder / "masks") == masks_of(folder / "images")
    assert drawn_masks.written == len(masks_of(folder / "images"))
    sampler = Sampler.load(folder / "generators/round-1.safetensors", CPU)
    with (folder / "selection.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    masks = []
    for label in {row["class"] for row in rows}:
        targets = torch.full((len(rows),), sampler.classes.index(label))
        mine = [r for r in rows if r["class"] == label and r["kept"] == "true"]
        for row in mine:
            drawn = sampler.sample(targets, seed=int(row["seed"]), truncation=DIVERSE.truncation)
            place, name = int(row["index"]), f"{label}/{row['id']}.png"
            assert np.array_equal(
                read_gray(folder / "images" / name), drawn.pixels[place, 0].numpy()
            )
            with Image.open(folder / "masks" / name) as image:
                mask = np.asarray(image)
            assert np.array_equal(mask, drawn.masks[place, 0].numpy())
            masks.append(inside(folder / "masks" / name))
    assert len(masks) == len({mask.tobytes() for mask in masks}) == drawn_masks.written > 1
    assert 0 < np.mean(masks) < 1


@pytest.mark.parametrize("steps", [0, 2])
def test_a_sample_of_a_bundle_brings_its_masks(drawn_masks, tmp_path, steps):
    out = sample(
        drawn_masks.bundle, label="malignant", n=4, out=tmp_path / "out", seed=3, gates=False,
        interpolation=steps,
    )  # fmt: skip
    assert masks_of(out / "masks") == masks_of(out / "images")
    document = json.loads((out / "sample.json").read_text())
    assert document["masks"] == 4
    assert "masks/" in document["sentence"]
    drawn = Sampler.load(drawn_masks.bundle / "round-1.safetensors", CPU)
    made = drawn.sample(torch.ones(4, dtype=torch.int64), seed=3)
    manifest = with_masks(read_manifest(out / "manifest.csv", out))
    for i, record in enumerate(manifest):
        place = i // (steps or 1)
        if not steps or i % steps == 0:
            (mask,) = manifest.mask_files(record)
            assert np.array_equal(read_gray(mask), made.masks[place, 0].numpy())
            assert np.array_equal(read_gray(manifest.file(record)), made.pixels[place, 0].numpy())


def test_masks_of_enlarged_samples_have_the_size_of_their_images(drawn_masks, tmp_path):
    bundle = with_enlarger(drawn_masks.bundle, tmp_path / "bundle", LARGE)
    out = sample(bundle, label="malignant", n=3, out=tmp_path / "out", seed=3, gates=False)
    made = Sampler.load(bundle / "round-1.safetensors", CPU).sample(torch.ones(3).long(), seed=3)
    for path, drawn in zip(sorted((out / "masks").rglob("*.png")), made.masks, strict=True):
        assert np.array_equal(read_gray(path) > 0, enlarged(drawn[0].numpy()))
        assert read_gray(out / "images" / path.relative_to(out / "masks")).shape == (LARGE, LARGE)
        with Image.open(path) as image:
            assert image.text["synthetic"] == "true"


def test_gated_samples_bring_theirs(drawn_masks, tmp_path):
    out = sample(drawn_masks.bundle, label="malignant", n=2, out=tmp_path / "out", seed=1, tries=64)
    document = json.loads((out / "sample.json").read_text())
    assert document["masks"] == document["accepted"] > 0
    assert masks_of(out / "masks") == masks_of(out / "images")


def test_a_generator_without_masks_writes_none(grown, tmp_path):
    shutil.copytree(grown.folder, tmp_path / "synthesis")
    folder = tmp_path / "synthesis"
    assert write_masks(folder, samplers_in(folder, CPU)) == 0
    assert not (tmp_path / "synthesis/masks").exists()
    accepted = training_images(tmp_path / "synthesis", every_round=True)
    assert with_masks(accepted) == accepted


@pytest.mark.parametrize(("layout", "real"), [("folders", "copy"), ("index", "link")])
def test_the_set_has_masks_named_as_those_of_real_images(masked_run, tmp_path, layout, real):
    out = export(masked_run, out=tmp_path / "set", layout=layout, real=real, every_round=True)
    rows = rows_of(out)
    assert len(rows) == len(masks_of(masked_run / "synthesis/images"))
    for row in (*rows, *rows_of(out, "real")):
        assert row["masks"] == f"{row['path'].removesuffix('.png')}_mask.png"
        assert (out / row["masks"]).is_file()
    for row in rows:
        assert not (out / row["masks"]).is_symlink()
        assert (out / row["masks"]).read_bytes() == mask_of(masked_run, row["id"]).read_bytes()


def test_a_mask_fits_the_image_that_is_handed_on(enlarged_run, tmp_path):
    large = export(enlarged_run, out=tmp_path / "large", every_round=True)
    drawn = export(enlarged_run, out=tmp_path / "drawn", every_round=True, drawn=True)
    assert rows_of(large)
    for row, small in zip(rows_of(large), rows_of(drawn), strict=True):
        kept = inside(mask_of(enlarged_run, row["id"]))
        assert (row["width"], small["width"]) == (str(LARGE), str(SMALL))
        assert np.array_equal(inside(large / row["masks"]), enlarged(kept))
        assert np.array_equal(inside(drawn / small["masks"]), kept)
    assert "enlarged to the same side by nearest" in (large / "DATASHEET.md").read_text()
    assert "nearest neighbour" not in (drawn / "DATASHEET.md").read_text()


def test_an_image_without_a_mask_stays_without(masked_run, tmp_path):
    lost = masks_of(masked_run / "synthesis/masks")[0]
    (masked_run / "synthesis/masks" / lost).unlink()
    out = export(masked_run, out=tmp_path / "set", every_round=True, parts="all")
    bare = [row for row in rows_of(out) if not row["masks"]]
    assert [row["id"] for row in bare] == [lost.stem]
    unseen = [row for row in rows_of(out, "real") if row["id"].startswith("unseen")]
    assert [row["masks"] for row in unseen] == [""] * 4
    files = {str(p.relative_to(out)) for p in out.rglob("*_mask.png")}
    assert files == {r["masks"] for r in rows_of(out) + rows_of(out, "real") if r["masks"]}
    made = len(rows_of(out))
    assert f"1 of {made} synthetic images have none" in (out / "DATASHEET.md").read_text()


@pytest.mark.parametrize("masks", [True, False])
def test_datasheet_and_croissant_say_whose_the_masks_are(masked_run, tmp_path, masks):
    if not masks:
        shutil.rmtree(masked_run / "synthesis/masks")
    out = export(masked_run, out=tmp_path / "set", every_round=True)
    made = len(rows_of(out))
    text, page = (
        (out / "DATASHEET.md").read_text(),
        json.loads((out / "croissant.json").read_text()),
    )
    described = {f["name"]: f["description"] for f in page["recordSet"][0]["field"]}["masks"]
    for words in (text, described, page["rai:dataLimitations"]):
        assert (datasheet.GENERATED_MASKS in words) == masks
        assert (datasheet.NO_MASKS in words) != masks
        assert "have none" not in words
    counted = f"20 of 20 real images and {made if masks else 0} of {made} synthetic ones."
    assert counted in " ".join(text.split())
    assert ("networks that outline lesions" in text) == masks
    assert any(row["masks"] for row in rows_of(out)) == masks


def test_of_a_set_without_synthetic_images_nothing_is_said():
    real = {("benign", "real"): 3}
    assert datasheet.limits(real, real) == datasheet.LIMITS


def test_the_data_set_gives_masks_of_real_and_synthetic_images(enlarged_run, splits):
    write_png(splits.manifest.root / "benign/image0_mask.png", np.eye(32, dtype=np.uint8) * 255)
    data = BalancedDataset(enlarged_run, every_round=True, size_px=LARGE, masks=True)
    assert data.masked.all()
    keys = [key for key, made in zip(data.ids, data.synthetic.tolist(), strict=True) if made]
    for key in keys:
        image, target, mask = data[data.ids.index(key)]
        assert image.shape == mask.shape == (1, LARGE, LARGE)
        assert f"-{data.classes[target]}-" in key
        kept = enlarged(inside(mask_of(enlarged_run, key)))
        assert np.array_equal(mask[0].numpy(), kept)
    mask = data[data.ids.index("benign/0")][2]
    write_png(splits.manifest.root / "benign/image0_mask.png", np.zeros((32, 32), np.uint8))
    assert set(mask.unique().tolist()) == {0, 1}
    assert mask[0, 0, 0] == mask[0, -1, -1] == 1
    assert len(BalancedDataset(enlarged_run, every_round=True)[0]) == 2


def test_the_data_set_tells_an_unknown_mask_and_moves_known_ones(masked_run):
    val = BalancedDataset(masked_run, "val", size_px=SMALL, masks=True)
    assert not val.masked.any()
    assert not val[0][2].any()
    plain = BalancedDataset(masked_run, every_round=True, size_px=SMALL, masks=True)
    moving = BalancedDataset(
        masked_run,
        every_round=True,
        size_px=SMALL,
        masks=True,
        transform=v2.RandomHorizontalFlip(p=1),
    )
    for i in range(20, len(plain)):
        (image, target, mask), (moved, same, moved_mask) = plain[i], moving[i]
        assert target == same
        assert torch.equal(moved, image.flip(-1))
        assert torch.equal(torch.as_tensor(moved_mask), mask.flip(-1))


def test_masks_of_synthetic_images_are_no_images_and_no_masks_of_real_ones(masked_run, tmp_path):
    out = export(masked_run, out=tmp_path / "set", every_round=True)
    for source in (out, out / "index.csv"):
        settings = DataSettings(layout="folders") if source is out else DataSettings()
        manifest, skipped = index_folder(source, settings)
        assert len(manifest) == 20
        assert all(r.origin == "real" and len(r.masks) == 1 for r in manifest)
        assert sum(s.kind == "synthetic" for s in skipped) >= len(rows_of(out))
    assert len(find_images(out, synthetic_only=True)) == len(rows_of(out))
    key = rows_of(out)[0]["id"]
    again = regenerate(out, key, CPU, masked_run / "synthesis/generators")
    assert again.different == 0
    assert not again.kept.name.endswith("_mask.png")
    listed = read_manifest(out / "index.csv", out)
    assert all(path.is_file() for r in listed for path in listed.mask_files(r))


def test_a_classifier_learns_no_outline_from_them(masked_run):
    made = synthetic_of(runs.open_run(masked_run), "dual-iterative", SMALL, ("benign", "malignant"))
    assert made.outlines is None
    assert not made.known_outlines().known.any()
