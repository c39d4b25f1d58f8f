"""fit_resample on arrays, and the data set of a run, inside other people's training code."""

import re
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
from growth_stubs import DIVERSE, TINY, WIDE, Lenient, toy_set
from safetensors.torch import save_file

from sonobalance import BalancedDataset, SyntheticBalancer, export, growing
from sonobalance.artefacts import manifest_of
from sonobalance.classify.features import extract_features
from sonobalance.config import SplitSettings, SynthesisSettings
from sonobalance.data.images import letterbox, read_gray
from sonobalance.data.split import make_splits
from sonobalance.errors import InputError, LeakError, SettingsError, StaleError
from sonobalance.files import read_json
from sonobalance.runs import open_run
from sonobalance.stages import STAGES
from sonobalance.synthesis import balancer as balancer_module

COUNTS = (12, 8)


@pytest.fixture(scope="module")
def resampled(tmp_path_factory):
    train, groups = toy_set(COUNTS)
    images = [pixels[0].numpy() for pixels in train.pixels]
    labels = np.array([train.classes[k] for k in train.targets])
    synthesis = WIDE.model_copy(update={"realism_pass": 0.99, "rounds": 1})
    balancer = SyntheticBalancer(
        gan=TINY, synthesis=synthesis, folder=tmp_path_factory.mktemp("fit"), every_round=True
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(growing, "GanGenerator", Lenient)
        return balancer, images, labels, *balancer.fit_resample(images, labels, groups)


def test_real_images_come_first_and_flags_tell_the_rest(resampled):
    balancer, images, labels, pixels, names = resampled
    n = len(images)
    assert pixels.shape == (len(names), 32, 32)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels[:n], np.stack(images))
    assert names[:n].tolist() == labels.tolist()
    assert balancer.sample_is_synthetic_.tolist() == [False] * n + [True] * (len(names) - n)
    assert len(balancer.sample_ids_) == len(names)
    assert set(names[n:]) == {"malignant"}
    assert balancer.report_["accepted"] == len(names) - n


def test_masks_come_with_the_images_where_the_generator_draws_them(resampled, tmp_path):
    balancer, images, labels, *_ = resampled
    assert balancer.sample_masks_ is None
    masks = [image > 145 for image in images]
    gan = TINY.model_copy(update={"synthesize_masks": True, "autoencoder_kimg": 0.5})
    other = SyntheticBalancer(gan=gan, synthesis=DIVERSE, folder=tmp_path, every_round=True)
    groups = [f"{label} patient {i // 2}" for i, label in enumerate(labels)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(growing, "GanGenerator", Lenient)
        pixels, _ = other.fit_resample(images, labels, groups, masks=masks)
    n = len(images)
    assert len(pixels) > n
    assert other.sample_masks_ is not None
    assert other.sample_masks_.shape == pixels.shape
    assert np.array_equal(other.sample_masks_[:n] > 0, np.stack(masks))
    for key, mask in zip(other.sample_ids_[n:], other.sample_masks_[n:], strict=True):
        (kept,) = (tmp_path / "synthesis/masks").rglob(f"{key}.png")
        assert np.array_equal(read_gray(kept), mask)
    with pytest.raises(InputError, match="give them to fit_resample"):
        other.fit_resample(images, labels, groups)
    with pytest.raises(StaleError, match="made from others"):
        other.fit_resample(images, labels, groups, masks=[~mask for mask in masks])
    other.synthesis = DIVERSE.model_copy(update={"feed_back": True})
    with pytest.raises(SettingsError, match="exclude each other"):
        other.fit_resample(images, labels, groups, masks=masks)


def test_labels_keep_their_type_and_a_finished_fit_is_not_repeated(resampled):
    balancer, images, labels, pixels, names = resampled
    groups = [f"{label} patient {i // 2}" for i, label in enumerate(labels)]
    again, same = balancer.fit_resample(images, labels, groups)
    assert np.array_equal(again, pixels)
    assert same.dtype == names.dtype


def test_what_does_not_fit_together_is_refused():
    image = np.zeros((40, 40), np.uint8)
    with pytest.raises(InputError, match="2 and 1"):
        SyntheticBalancer().fit_resample([image, image], [0])
    with pytest.raises(InputError, match=r"image 1 .* \(40, 40, 3\)"):
        SyntheticBalancer().fit_resample([image, np.zeros((40, 40, 3), np.uint8)], [0, 1])
    with pytest.raises(InputError, match="group for each"):
        SyntheticBalancer().fit_resample([image, image], [0, 1], groups=["a"])
    with pytest.raises(InputError, match="two unrelated images of the class 'rare'"):
        SyntheticBalancer().fit_resample([image] * 3, ["rare", "usual", "usual"])
    with pytest.raises(InputError, match="two classes at least, but all are 'a'"):
        SyntheticBalancer().fit_resample([image] * 3, ["a"] * 3)
    with pytest.raises(InputError, match=r"can name a folder, but got '\.\./x'"):
        SyntheticBalancer().fit_resample([image] * 4, ["../x", "../x", "y", "y"])
    wish = SynthesisSettings(target="counts", counts={"c": 9})
    with pytest.raises(SettingsError, match="but got 'c'"):
        SyntheticBalancer(synthesis=wish).fit_resample([image] * 4, ["a", "a", "b", "b"])


@pytest.mark.parametrize("weighted", [True, False])
def test_the_result_can_be_larger_than_the_generators_images(tmp_path, monkeypatch, weighted):
    weights = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), weights)
    train, groups = toy_set(COUNTS)
    images = [np.kron(p[0].numpy(), np.ones((2, 2), np.uint8)) for p in train.pixels]
    monkeypatch.setattr(growing, "GanGenerator", Lenient)
    # random weights find no class, but generator and enlarger may see with them
    monkeypatch.setattr(growing, "extract_features", lambda images, **_: extract_features(images))
    balancer = SyntheticBalancer(
        image_size_px=48, gan=TINY, folder=tmp_path / "fit", every_round=True,
        synthesis=WIDE.model_copy(
            update={"realism_pass": 0.99, "rounds": 1, "enlarger_kimg": 0.008}
        ),
        backbone="test_resnet", weights=weights if weighted else None,
    )  # fmt: skip
    pixels, labels = balancer.fit_resample(images, train.targets.numpy(), groups)
    made = balancer.sample_is_synthetic_
    assert pixels.shape == (len(labels), 48, 48)
    assert made.any()
    assert np.array_equal(pixels[0], letterbox(images[0], 48))
    kept = tmp_path / "fit/synthesis"
    folder = kept / ("large" if weighted else "images")
    first = read_gray(next(folder.rglob(f"{balancer.sample_ids_[int(made.argmax())]}.png")))
    assert first.shape == ((48, 48) if weighted else (32, 32))
    assert np.array_equal(pixels[made][0], letterbox(first, 48))
    gan = read_json(tmp_path / "fit/gan/gan.json")
    assert (gan["kid_features"] == "test_resnet") == weighted


@pytest.mark.parametrize("side", [31, 1025])
def test_a_side_that_does_not_fit_is_refused(side):
    image = np.zeros((40, 40), np.uint8)
    with pytest.raises(SettingsError, match=f"from 32, the generator's, to 1024, but got {side}"):
        SyntheticBalancer(image_size_px=side, gan=TINY).fit_resample([image, image], [0, 1])


def code_of_the_readme(word: str) -> str:
    """The Python block of the README that names a word."""
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    return next(block for block in blocks if word in block)


def test_the_example_of_the_readme(run_folder, tmp_path, monkeypatch):
    """As it stands there, with the smallest generator and gates that it can pass."""
    train, groups = toy_set(COUNTS)
    monkeypatch.setattr(growing, "GanGenerator", Lenient)
    monkeypatch.setattr(balancer_module, "GanSettings", lambda: TINY)
    monkeypatch.setattr(balancer_module, "SynthesisSettings", lambda: WIDE)
    script = tmp_path / "example.py"
    script.write_text(code_of_the_readme("fit_resample").replace("runs/mine", str(run_folder)))
    given = {
        "train_images": [pixels[0].numpy() for pixels in train.pixels],
        "train_labels": train.targets.numpy(),
        "train_patients": groups,
    }
    found = runpy.run_path(str(script), init_globals=given)
    assert len(found["images"]) == len(found["labels"]) == len(found["synthetic"])
    assert not found["synthetic"][: len(train)].any()
    batch, targets = next(iter(found["loader"]))
    assert batch.shape[1:] == (1, 224, 224)
    assert set(targets.tolist()) <= {0, 1}


def test_the_data_set_joins_synthetic_images_to_train_only(run_folder, grown):
    train = BalancedDataset(run_folder, every_round=True, size_px=48)
    made = len(grown.growth.manifest)
    assert len(train) == 20 + made
    assert train.synthetic.tolist() == [False] * 20 + [True] * made
    image, target = train[len(train) - 1]
    assert image.shape == (1, 48, 48)
    assert 0 <= image.min() < image.max() <= 1
    assert train.classes[target] == "malignant"
    assert len(BalancedDataset(run_folder, synthetic=False)) == 20
    test = BalancedDataset(run_folder, "test", transform=lambda x: x.mean())
    assert not test.synthetic.any()
    assert test[0][0].ndim == 0


ENTRIES = [name for name in STAGES if name not in ("index", "audit", "split")]


@pytest.fixture
def leaking(run_folder, tmp_path):
    """The run with a synthetic image in VAL."""
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    text = (folder / "manifest.csv").read_text()
    row = next(line for line in text.splitlines() if line.startswith("unseen0,"))
    (folder / "manifest.csv").write_text(text.replace(row, row.replace(",real,", ",synthetic,")))
    return folder


@pytest.mark.parametrize("stage", ENTRIES)
def test_no_stage_works_with_a_synthetic_image_in_val(leaking, stage):
    with pytest.raises(LeakError, match="'unseen0' is synthetic"):
        STAGES[stage].work(open_run(leaking))


def test_no_other_entry_takes_it_either(leaking, tmp_path):
    with pytest.raises(LeakError, match="'unseen0' is synthetic"):
        BalancedDataset(leaking, "val")
    with pytest.raises(LeakError, match="'unseen0' is synthetic"):
        export(leaking, out=tmp_path / "out", parts="all")
    run = open_run(leaking)
    with pytest.raises(InputError, match="'unseen0' is synthetic"):
        make_splits(manifest_of(run), splits_group(run), SplitSettings(), 0)


def splits_group(run):
    return {r.id: r.id for r in manifest_of(run)}
