import json
from dataclasses import replace

import pytest
import torch
from conftest import blobs, tiny

from sonobalance.errors import CollapseError, InputError, StaleError
from sonobalance.files import read_json, read_lines
from sonobalance.gan import judging
from sonobalance.gan import steps as module
from sonobalance.gan.features import FrozenFeatures
from sonobalance.gan.places import why_none
from sonobalance.gan.train import _quality, train_gan
from sonobalance.gan.training import Counters
from sonobalance.state import load_state
from sonobalance.synthesis.generator import GanGenerator
from sonobalance.synthesis.generator_bundle import find_bundle
from sonobalance.synthesis.summary import training_images


def flat(tree, key=""):
    if isinstance(tree, dict):
        return {k: v for name, node in tree.items() for k, v in flat(node, f"{key}.{name}").items()}
    return {key: tree}


def assert_same(first, second):
    first, second = flat(first), flat(second)
    assert first.keys() == second.keys()
    for key, value in first.items():
        if key == ".counters.seconds":
            continue
        same = torch.equal(value, second[key]) if isinstance(value, torch.Tensor) else None
        assert same or value == second[key], key


def rows_of(folder):
    return [
        {k: v for k, v in row.items() if k != "images_per_second"}
        for row in read_lines(folder / "stats.jsonl")
    ]


class Killed(BaseException):
    """As abrupt as a signal: nothing in the package catches it."""


@pytest.mark.parametrize("objective", ["d2gan", "real_class", "single"])
def test_killed_and_resumed_equals_undisturbed(tmp_path, images, cpu, monkeypatch, objective):
    settings = tiny(objective=objective)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train_gan(images, settings, seed=3, folder=whole, device=cpu)
    original, calls = module.run_phases, []

    def fragile(*args):
        calls.append(1)
        if len(calls) in (2, 6, 11):
            raise Killed
        return original(*args)

    monkeypatch.setattr(module, "run_phases", fragile)
    for _ in range(3):
        with pytest.raises(Killed):
            train_gan(images, settings, seed=3, folder=broken, device=cpu)
    train_gan(images, settings, seed=3, folder=broken, device=cpu)
    for name in ("snapshot.safetensors", "checkpoint.safetensors"):
        assert_same(load_state(whole / name), load_state(broken / name))
    assert rows_of(whole) == rows_of(broken)


def test_going_on_equals_training_longer_at_once(tmp_path, images, cpu, settings):
    once, twice = tmp_path / "once", tmp_path / "twice"
    train_gan(images, settings, seed=0, folder=once, device=cpu, total_kimg=0.016)
    train_gan(images, settings, seed=0, folder=twice, device=cpu, total_kimg=0.008)
    train_gan(images, settings, seed=0, folder=twice, device=cpu, total_kimg=0.016)
    name = "checkpoint.safetensors"
    assert_same(load_state(once / name), load_state(twice / name))
    assert rows_of(once) == rows_of(twice)


def test_a_training_that_got_no_better_goes_on_when_more_is_asked_for(tmp_path, images, cpu):
    impatient = tiny(patience_kimg=0.001, total_kimg=0.08)
    given = {"seed": 0, "folder": tmp_path, "device": cpu}
    train_gan(images, impatient, **given)
    before = read_json(tmp_path / "gan.json")
    assert before["stop"].startswith("No snapshot was")
    train_gan(images, impatient, **given)
    assert read_json(tmp_path / "gan.json") == before
    train_gan(images, impatient, total_kimg=0.096, **given)
    assert read_json(tmp_path / "gan.json")["kimg"] > before["kimg"]


@pytest.mark.parametrize("total", [0.08, 0.032])
def test_the_loop_trains_on_where_the_training_had_got_no_better(tmp_path, images, cpu, total):
    """Also where a round's goal is what the first training had been asked for."""
    impatient = tiny(patience_kimg=0.001, total_kimg=total)
    gan, folder = tmp_path / "gan", tmp_path / "generators"
    train_gan(images, impatient, seed=0, folder=gan, device=cpu)
    seen = [read_json(gan / "gan.json")["kimg"]]
    assert seen[0] < 0.03
    made = GanGenerator(images, impatient, 0, gan, folder, impatient.snapshot_kimg, cpu)
    for number in (1, 2, 3):
        made.advance(number)
        done = folder / "training" / "gan.json"
        seen.append(read_json(done)["kimg"] if done.is_file() else seen[0])
    assert seen[1] == seen[0] < seen[2] < seen[3]


def test_files_and_their_contents(tmp_path, images, cpu, settings):
    path = train_gan(images, settings, seed=0, folder=tmp_path, device=cpu)
    assert path == tmp_path / "snapshot.safetensors"
    rows = read_lines(tmp_path / "stats.jsonl")
    assert [row["stage"] for row in rows] == ["warm-up"] * 2 + ["adversarial"] * 2
    last = rows[-1]
    for key in ("kimg", "loss_D1", "loss_D2", "loss_G", "score_D1_real", "score_D2_fake",
                "diversity_bright", "diversity_dark", "kid", "images_per_second"):  # fmt: skip
        assert isinstance(last[key], float), key
    report = read_json(tmp_path / "gan.json")
    assert report["train_hash"] == load_state(path)["train_hash"]
    assert report["kimg"] == 0.016
    assert sorted(p.name for p in (tmp_path / "grids").iterdir()) == ["0000008.png", "0000016.png"]
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_finished_training_returns_at_once(tmp_path, images, cpu, settings, monkeypatch):
    path = train_gan(images, settings, seed=0, folder=tmp_path, device=cpu)
    before = path.read_bytes()
    monkeypatch.setattr(module, "run_phases", lambda *_: pytest.fail("trained again"))
    assert train_gan(images, settings, seed=0, folder=tmp_path, device=cpu).read_bytes() == before


def test_other_images_settings_or_seed_are_refused(tmp_path, images, cpu, settings):
    train_gan(images, settings, seed=0, folder=tmp_path, device=cpu)
    changed = replace(images, pixels=images.pixels.flip(0))
    for others in ((changed, settings, 0), (images, tiny(alpha=0.9), 0), (images, settings, 1)):
        with pytest.raises(StaleError, match="made from others"):
            train_gan(others[0], others[1], seed=others[2], folder=tmp_path, device=cpu)


def test_other_weights_of_the_same_backbone_are_refused(tmp_path, images, cpu, settings):
    def train(weights):
        torch.manual_seed(weights)
        eyes = FrozenFeatures("test_resnet", settings.image_size_px)
        return train_gan(images, settings, seed=0, folder=tmp_path, device=cpu, eyes=eyes)

    train(weights=0)
    train(weights=0)
    with pytest.raises(StaleError, match="weights"):
        train(weights=1)


def test_collapse_stops_with_a_sentence_and_keeps_the_best_snapshot(
    tmp_path, images, cpu, monkeypatch
):
    settings = tiny(collapse_fraction=0.3, collapse_ticks=2, total_kimg=0.08)
    original, ticks = judging.assess, []

    def collapsing(*args):
        ticks.append(1)
        low = 0.1 if len(ticks) > 2 else 0.9
        return replace(original(*args), diversity=(0.9, low))

    monkeypatch.setattr(judging, "assess", collapsing)
    monkeypatch.setattr(judging.Ruler, "distances", lambda *_: {0: 1.0 / len(ticks)})
    path = train_gan(images, settings, seed=0, folder=tmp_path, device=cpu)
    report = read_json(tmp_path / "gan.json")
    assert report["collapsed"]
    assert "diversity (least: 10%)" in report["stop"]
    assert len(ticks) == 4
    assert load_state(path)["kimg"] == report["best_kimg"] == pytest.approx(0.016)
    train_gan(images, settings, seed=0, folder=tmp_path, device=cpu, total_kimg=1.0)
    assert len(ticks) == 4


def test_collapse_before_any_good_snapshot_is_an_error(tmp_path, images, cpu):
    settings = tiny(collapse_fraction=1.0, collapse_ticks=1, autoencoder_kimg=0.0)
    with pytest.raises(CollapseError, match="diverse"):
        train_gan(images, settings, seed=0, folder=tmp_path, device=cpu)
    assert json.loads((tmp_path / "gan.json").read_text())["collapsed"]


def test_a_training_that_ends_without_any_good_snapshot_says_so(tmp_path, images, cpu):
    settings = tiny(collapse_fraction=1.0, collapse_ticks=99, autoencoder_kimg=0.0, total_kimg=0.01)
    with pytest.raises(CollapseError, match="never did"):
        train_gan(images, settings, seed=0, folder=tmp_path / "gan", device=cpu)
    report = read_json(tmp_path / "gan" / "gan.json")
    assert report["collapsed"]
    assert report["stop"].endswith("No snapshot was diverse enough to be kept.")
    assert report["stop"] in why_none(tmp_path)
    with pytest.raises(InputError, match="its generator is of no use"):
        training_images(tmp_path / "synthesis")
    with pytest.raises(InputError, match="its generator is of no use"):
        find_bundle(tmp_path)


def test_images_of_another_size_are_refused(tmp_path, cpu, settings):
    with pytest.raises(InputError, match="32"):
        train_gan(blobs(size=64), settings, seed=0, folder=tmp_path, device=cpu)


def test_autoencoder_learns_the_images(tmp_path, images, cpu):
    settings = tiny(autoencoder_kimg=0.3, snapshot_kimg=0.1, autoencoder_lr=3e-3, total_kimg=0.004)
    train_gan(images, settings, seed=0, folder=tmp_path, device=cpu)
    losses = [r["loss_autoencoder"] for r in read_lines(tmp_path / "stats.jsonl")[:3]]
    assert losses[-1] < 0.9 * losses[0]


def test_the_bar_shows_the_present_kid_beside_the_best():
    assert _quality(Counters(0.6)) == _quality(Counters(0.6, best=0.394)) == ""
    assert _quality(Counters(0.6, kid=0.4213)) == " · KID 0.42"
    counters = Counters(0.6, kid=0.4213, best=0.394, best_kimg=8.0)
    assert _quality(counters) == " · KID 0.42, best 0.39 at 8 kimg"


def test_the_present_kid_is_kept(tmp_path, images, cpu, settings):
    train_gan(images, settings, seed=0, folder=tmp_path, device=cpu)
    counters = load_state(tmp_path / "checkpoint.safetensors")["counters"]
    assert counters["kid"] == read_lines(tmp_path / "stats.jsonl")[-1]["kid"]
