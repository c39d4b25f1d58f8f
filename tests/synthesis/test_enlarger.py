"""Enlarging synthetic images: learnt from real pairs, never from what it is applied to."""

from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from growth_stubs import toy_set
from PIL import Image

from sonobalance import enlarging, runs
from sonobalance.artefacts import synthetic_of
from sonobalance.config import Settings
from sonobalance.data.images import write_png
from sonobalance.data.loading import LabelledImages, load_images
from sonobalance.data.manifest import Manifest, Record
from sonobalance.errors import InputError
from sonobalance.files import write_json
from sonobalance.plan import enlarger_flops
from sonobalance.randomness import numpy_generator
from sonobalance.state import save_state
from sonobalance.synthesis import enlarger as enlarger_module
from sonobalance.synthesis.enlarger import (
    ENLARGER,
    Enlarger,
    enlarged,
    learn_enlarger,
    load_enlarger,
    save_enlarger,
)
from sonobalance.synthesis.summary import training_images

SMALL, LARGE = 32, 64


def discs(number: int, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """Sharp discs on grey, small and large."""
    random = numpy_generator(seed, "discs")
    whole = np.full((number, LARGE, LARGE), 90, np.uint8)
    for image in whole:
        for _ in range(4):
            centre = random.integers(8, LARGE - 8, 2).tolist()
            cv2.circle(
                image, centre, int(random.integers(3, 12)), int(random.integers(20, 250)), -1
            )
    small = np.stack([cv2.resize(x, (SMALL, SMALL), interpolation=cv2.INTER_AREA) for x in whole])
    targets, ids = torch.zeros(number, dtype=torch.int64), tuple(str(i) for i in range(number))

    def labelled(pixels: np.ndarray) -> LabelledImages:
        return LabelledImages(torch.from_numpy(pixels)[:, None], targets, ids, ("benign",))

    return labelled(small), labelled(whole)


def edges(images: torch.Tensor) -> list[torch.Tensor]:
    """What a first layer sees."""
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    both = torch.stack([kernel, kernel.T])[:, None]
    return [F.conv2d(images, both), F.conv2d(F.avg_pool2d(images, 2), both)]


learn = partial(learn_enlarger, look=edges, kimg=0.8, seed=0)


@pytest.fixture(scope="module")
def learnt() -> Enlarger:
    return learn(*discs(40, 0), name="discs")


def error(made: LabelledImages, wanted: LabelledImages) -> float:
    pairs = zip(edges(made.pixels.float()), edges(wanted.pixels.float()), strict=True)
    return float(sum((a - b).abs().mean() / b.abs().mean() for a, b in pairs))


def test_edges_of_images_it_never_saw_come_back(learnt):
    small, whole = discs(12, 1)
    before = error(enlarged(small, Enlarger(SMALL, LARGE)), whole)
    assert error(enlarged(small, learnt), whole) < 0.8 * before


def test_it_starts_as_bicubic_resampling():
    small, _ = discs(3, 1)
    rough = F.interpolate(
        small.pixels.float() / 127.5 - 1, size=(LARGE, LARGE), mode="bicubic", antialias=True
    )
    wanted = ((rough.clamp(-1, 1) + 1) * 127.5).round()
    made = enlarged(small, Enlarger(SMALL, LARGE)).pixels.float()
    assert (made - wanted).abs().max() <= 1


def test_the_same_seed_learns_the_same(learnt):
    small, whole = discs(40, 0)
    again = learn(small, whole)
    assert all((a == b).all() for a, b in zip(learnt.parameters(), again.parameters(), strict=True))


def test_a_diverged_one_is_never_passed_on(monkeypatch, capsys):
    def train(enlarger, *_, peak, **__):
        torch.nn.init.constant_(enlarger.exit.bias, {1: torch.nan, 2: 9.0}[peak])

    monkeypatch.setattr(enlarger_module, "_train", train)
    monkeypatch.setattr(enlarger_module, "PEAK_LRS", (1, 2))
    assert learn(*discs(6, 4)) is None
    said = capsys.readouterr().err
    assert said.count("no better") == 2
    assert "are resampled" in said


def test_what_diverged_is_learnt_again_at_a_lower_rate(monkeypatch):
    first, rates = enlarger_module._train, []

    def train(enlarger, *images, peak, **how):
        rates.append(peak)
        first(enlarger, *images, peak=peak, **how)
        if len(rates) == 1:
            torch.nn.init.constant_(enlarger.exit.bias, torch.nan)

    monkeypatch.setattr(enlarger_module, "_train", train)
    small, whole = discs(40, 0)
    again = learn(small, whole)
    assert tuple(rates) == enlarger_module.PEAK_LRS
    assert error(enlarged(small, again), whole) < error(
        enlarged(small, Enlarger(SMALL, LARGE)), whole
    )


def test_each_image_depends_on_itself_alone(learnt):
    small, _ = discs(5, 2)
    together, alone = enlarged(small, learnt), enlarged(small, learnt, batch_size=1)
    assert together.ids == small.ids
    assert (together.pixels.int() - alone.pixels.int()).abs().max() <= 1
    assert enlarged(small.take([]), learnt).pixels.shape == (0, 1, LARGE, LARGE)


@pytest.mark.parametrize(("small", "large"), [(32, 45), (64, 224)])
def test_any_pair_of_sides_fits(small, large):
    assert Enlarger(small, large)(torch.zeros(2, 1, small, small)).shape == (2, 1, large, large)


def test_saved_and_read_it_gives_the_same_pixels(learnt, tmp_path):
    save_enlarger(tmp_path / "e.safetensors", learnt)
    again = load_enlarger(tmp_path / "e.safetensors")
    small, _ = discs(4, 3)
    assert (again.small, again.large, again.name) == (SMALL, LARGE, "discs")
    assert (enlarged(small, again).pixels == enlarged(small, learnt).pixels).all()


@pytest.mark.parametrize("tree", [{}, {"small": 32, "large": 64, "name": "", "weights": {}}])
def test_another_file_is_refused_with_a_sentence(tmp_path, tree):
    save_state(tmp_path / "e.safetensors", tree)
    with pytest.raises(InputError, match=r"Expected an enlarger .* remove the folder"):
        load_enlarger(tmp_path / "e.safetensors")


@pytest.fixture
def run(tmp_path):
    """A run whose loop accepted two images of 32 px for a classifier of 64 px."""
    train, folder = toy_set((4, 2))[0], tmp_path / "synthesis"
    small = {"gan": {"image_size_px": SMALL}, "classifier": {"image_size_px": LARGE}}
    records = [
        Record(f"r1-benign-{i}", f"images/benign/r1-benign-{i}.png", "benign") for i in range(2)
    ]
    for record, pixels in zip(records, train.pixels[:2, 0], strict=True):
        text = {"class": "benign", "seed": "7", "index": "0", "generator": "", "truncation": "1"}
        write_png(folder / record.path, pixels.numpy(), text)
    Manifest(tuple(records), folder).write(folder / "manifest.csv")
    write_json(folder / "synthesis.json", {"harm_guard": True, "best_round": 1})
    return runs.new(tmp_path, tmp_path, Settings.model_validate(small), None)


def with_weights(settings, folder):
    (folder / "weights.safetensors").write_bytes(b"stand-in")
    given = {"weights": folder / "weights.safetensors"}
    return settings.model_copy(update={"classifier": settings.classifier.model_copy(update=given)})


def test_an_arm_gets_its_synthetic_images_enlarged(run, learnt):
    plain = synthetic_of(run, "dual-iterative", LARGE, ("benign", "malignant"))
    enlarging.write_enlarged(run.path("synthesis"), learnt)
    sharp = synthetic_of(run, "dual-iterative", LARGE, ("benign", "malignant"))
    drawn = load_images(training_images(run.path("synthesis")), SMALL, ("benign", "malignant"))
    assert sharp.ids == plain.ids == drawn.ids
    assert (sharp.pixels == enlarged(drawn, learnt, batch_size=1).pixels).all()
    assert (sharp.pixels != plain.pixels).any()
    with Image.open(run.path("synthesis/large/benign/r1-benign-1.png")) as image:
        assert (image.size, image.text["seed"]) == ((LARGE, LARGE), "7")
        assert image.text["enlarger"] == "discs"
    enlarging.write_enlarged(run.path("synthesis"), None)
    again = synthetic_of(run, "dual-iterative", LARGE, ("benign", "malignant"))
    assert (again.pixels == plain.pixels).all()


def test_it_is_learnt_once_and_anew_when_its_images_change(run, learnt, monkeypatch):
    calls = []

    class Eyes(torch.nn.Module):
        native = staticmethod(edges)

    def count(small, large, look, **how):
        calls.append(how["name"])
        return learn_enlarger(small, large, look, **how | {"kimg": 0.08})

    sides = []
    monkeypatch.setattr(enlarging, "eyes_of", lambda _, side: sides.append(side) or Eyes())
    monkeypatch.setattr(enlarging, "learn_enlarger", count)
    find = partial(
        enlarging.learnt_enlarger, run.path("synthesis"), with_weights(run.settings, run.folder),
        device=torch.device("cpu"),
    )  # fmt: skip
    small, large = discs(8, 0)
    first, again = find(small, large), find(small, large)
    assert first.name == again.name
    assert len(calls) == 1
    assert set(sides) == {run.settings.classifier.image_size_px}
    other = replace(small, pixels=255 - small.pixels)
    assert find(other, large).name != first.name
    monkeypatch.setattr(enlarging, "learn_enlarger", lambda *_, **__: None)
    assert find(small, large) is None
    assert not run.path(f"synthesis/{ENLARGER}").is_file()


def test_without_weights_or_larger_images_there_is_none(run, learnt):
    small, large = discs(8, 0)
    folder = run.path("synthesis")
    save_enlarger(folder / ENLARGER, learnt)
    cpu = torch.device("cpu")
    assert enlarging.learnt_enlarger(folder, run.settings, small, large, cpu) is None
    assert not (folder / ENLARGER).is_file()
    weighted = with_weights(run.settings, run.folder)
    assert enlarging.enlarges(weighted)
    same = weighted.gan.model_copy(update={"image_size_px": LARGE})
    assert not enlarging.enlarges(weighted.model_copy(update={"gan": same}))


def test_what_it_costs_is_part_of_the_estimate(tmp_path):
    weights = tmp_path / "weights.safetensors"
    weights.touch()
    given = {"classifier": {"image_size_px": 160, "weights": weights}}
    settings = Settings.model_validate(given)
    assert min(enlarger_flops(settings)) > 0
    assert enlarger_flops(Settings()) == (0, 0)
    given["classifier"]["backbone"] = "levit_128s"  # made for one side, that of the classifier
    assert min(enlarger_flops(Settings.model_validate(given | {"gan": {"image_size_px": 128}}))) > 0
    without = Settings.model_validate(given | {"synthesis": {"enlarger_kimg": 0}})
    assert enlarger_flops(without) == (0, 0)
