"""Numbers that become infinite or none: the training ends, and what it saved stays whole."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import tiny

from sonobalance.errors import CollapseError
from sonobalance.files import read_json, read_lines
from sonobalance.gan import judging
from sonobalance.gan import steps as module
from sonobalance.gan.train import CHECKPOINT, train_gan
from sonobalance.gan.training import Counters
from sonobalance.state import load_state, save_state

NAN = float("nan")
WARM_UP = 4  # steps of `tiny`, in ticks of two; then the game
NAMES = ("G", "average", "encoder", "D1", "D2")
SCRIPT = """
import sys
from pathlib import Path
import torch
import torch.distributed as dist
sys.path.insert(0, sys.argv[1])
from conftest import blobs, tiny
from sonobalance.errors import CollapseError
from sonobalance.gan import steps, train
from sonobalance.gan.parallel import train_on_devices

original = train.warmup_step

def spoilt(t):
    logged = original(t)
    if dist.get_rank() == 1:
        t.discriminators["D1"].head.class_weight.fill_(float("nan"))
    return logged

train.warmup_step = spoilt  # in the second process alone

if __name__ == "__main__":
    torch.set_num_threads(1)
    settings = tiny(batch_size=8, anchor_share=0.5, devices=2)
    cpu = torch.device("cpu")
    try:
        train_on_devices(blobs(), settings, seed=0, folder=Path(sys.argv[2]), device=cpu)
    except CollapseError as error:
        print(error)
"""


class Spoiler:
    """Runs the phases, and after some of its calls does something to the training."""

    def __init__(self, monkeypatch, folder, harm, *, at):
        self.calls, self.saved, self._at = 0, None, at
        self._folder, self._harm, self._original = folder, harm, module.run_phases
        monkeypatch.setattr(module, "run_phases", self)

    def __call__(self, phases, batch, *args):
        logged = self._original(phases, batch, *args)
        self.calls += 1
        if self.calls != self._at:
            return logged
        if (self._folder / CHECKPOINT).is_file():
            self.saved = load_state(self._folder / CHECKPOINT)
        return self._harm(phases, logged)


def spoil_loss(_, logged):
    return {key: value * math.inf for key, value in logged.items()}


def spoil_last_network(phases, logged):
    """G or the autoencoder: one weight of many."""
    with torch.no_grad():
        next(phases[-1].modules[-1].parameters()).view(-1)[0] = NAN
    return logged


def without_counters(tree):
    return {k: v for k, v in flat(tree).items() if not k.startswith(".counters")}


def flat(tree, key=""):
    if not isinstance(tree, dict):
        return {key: tree}
    return {k: v for name, node in tree.items() for k, v in flat(node, f"{key}.{name}").items()}


def assert_same_weights(first, second):
    first, second = without_counters(first), without_counters(second)
    assert first.keys() == second.keys()
    for key, value in first.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, second[key]), key
            assert value.isfinite().all(), key


@pytest.mark.parametrize("harm", [spoil_loss, spoil_last_network])
def test_the_warm_up_stops_at_once_and_says_what_to_change(
    tmp_path, images, cpu, monkeypatch, harm
):
    given = {"seed": 0, "folder": tmp_path, "device": cpu}
    spoiler = Spoiler(monkeypatch, tmp_path, harm, at=3)
    with pytest.raises(CollapseError, match=r"warm-up broke down before 0\.016 kimg") as raised:
        train_gan(images, tiny(), **given)
    assert spoiler.calls == WARM_UP
    assert "Lower `gan.autoencoder_lr` (0.001), or set `gan.precision` to float32." in str(
        raised.value
    )
    assert "autoencoder_kimg" not in str(raised.value)
    assert_same_weights(spoiler.saved, load_state(tmp_path / CHECKPOINT))
    assert [row["step"] for row in read_lines(tmp_path / "stats.jsonl")] == [2]
    report = read_json(tmp_path / "gan.json")
    assert report["collapsed"]
    assert not (tmp_path / "snapshot.safetensors").exists()
    monkeypatch.setattr(module, "run_phases", lambda *_: pytest.fail("trained again"))
    with pytest.raises(CollapseError) as again:
        train_gan(images, tiny(), total_kimg=1.0, **given)
    assert str(again.value) == str(raised.value)
    assert read_json(tmp_path / "gan.json") == report


def test_without_a_checkpoint_each_call_tries_one_tick(tmp_path, images, cpu, monkeypatch):
    for _ in range(2):
        spoiler = Spoiler(monkeypatch, tmp_path, spoil_last_network, at=1)
        with pytest.raises(CollapseError, match="autoencoder_lr"):
            train_gan(images, tiny(), seed=0, folder=tmp_path, device=cpu)
        assert spoiler.calls == 2
        assert not (tmp_path / CHECKPOINT).exists()
        assert read_json(tmp_path / "gan.json")["collapsed"]
        monkeypatch.undo()


@pytest.mark.parametrize("harm", [spoil_loss, spoil_last_network])
def test_the_game_stops_and_uses_its_good_snapshot(tmp_path, images, cpu, monkeypatch, harm):
    given = {"seed": 0, "folder": tmp_path, "device": cpu}
    spoiler = Spoiler(monkeypatch, tmp_path, harm, at=WARM_UP + 3)
    settings = tiny(total_kimg=0.08)
    path = train_gan(images, settings, **given)
    assert spoiler.calls == WARM_UP + 4
    report = read_json(tmp_path / "gan.json")
    assert report["collapsed"]
    assert "adversarial phase broke down before 0.016 kimg" in report["stop"]
    assert "the snapshot of 0.008 kimg is used. Lower `gan.generator_lr` (0.0003)" in report["stop"]
    assert report["kimg"] == report["best_kimg"] == load_state(path)["kimg"] == 0.008
    assert_same_weights(spoiler.saved, load_state(tmp_path / CHECKPOINT))
    assert len(list((tmp_path / "grids").iterdir())) == 1
    before = path.read_bytes()
    monkeypatch.setattr(module, "run_phases", lambda *_: pytest.fail("trained again"))
    assert train_gan(images, settings, total_kimg=1.0, **given).read_bytes() == before
    assert read_json(tmp_path / "gan.json") == report


@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_the_game_without_a_good_snapshot_is_an_error_that_fits(
    tmp_path, images, monkeypatch, precision
):
    cpu = torch.device("cpu")
    more = {"auto": "(0.001), or set `gan.precision` to float32.", "float32": "(0.001)."}[precision]
    settings = tiny(collapse_fraction=1.0, precision=precision, total_kimg=0.08)
    monkeypatch.setattr(judging, "assess", lambda *_: judging.Health((0.1, 0.1), 0.0))
    Spoiler(monkeypatch, tmp_path, spoil_last_network, at=WARM_UP + 3)
    with pytest.raises(CollapseError, match="adversarial phase broke down") as raised:
        train_gan(images, settings, seed=0, folder=tmp_path, device=cpu)
    told = str(raised.value)
    assert told.endswith(f"Lower `gan.generator_lr` (0.0003) and `gan.discriminator_lr` {more}")
    assert "is used" not in told
    assert "autoencoder_kimg" not in told


@pytest.mark.parametrize("name", NAMES)
def test_every_network_is_looked_at(tmp_path, images, cpu, monkeypatch, name):
    """In a tick whose losses are finite."""
    from sonobalance.gan import train

    original = train.game_step

    def spoilt(t):
        logged = original(t)
        if t.counters.steps == 4:
            next(t.networks[name].parameters()).data.view(-1)[-1] = NAN
        return logged

    monkeypatch.setattr(train, "game_step", spoilt)
    train_gan(images, tiny(), seed=0, folder=tmp_path, device=cpu)
    assert f"{name} became infinite or not a number;" in read_json(tmp_path / "gan.json")["stop"]
    assert load_state(tmp_path / CHECKPOINT)["counters"]["steps"] == 2


def test_a_measure_that_is_not_a_number_ends_the_training_too(tmp_path, images, cpu, monkeypatch):
    measured = iter([{0: 0.5}, {0: NAN}])
    monkeypatch.setattr(judging.Ruler, "distances", lambda *_: next(measured))
    train_gan(images, tiny(total_kimg=0.08), seed=0, folder=tmp_path, device=cpu)
    report = read_json(tmp_path / "gan.json")
    assert report["collapsed"]
    assert (
        "kid became infinite or not a number; the snapshot of 0.008 kimg is used" in report["stop"]
    )


def test_a_checkpoint_of_before_these_counters_goes_on(tmp_path, images, cpu):
    given = {"seed": 0, "folder": tmp_path, "device": cpu}
    train_gan(images, tiny(), total_kimg=0.008, **given)
    tree = load_state(tmp_path / CHECKPOINT)
    for name in ("broken", "kid", "streaks", "warnings"):
        del tree["counters"][name]
    save_state(tmp_path / CHECKPOINT, tree)
    train_gan(images, tiny(), total_kimg=0.016, **given)
    counters = Counters(**load_state(tmp_path / CHECKPOINT)["counters"])
    assert counters.steps == 4
    assert not counters.broken


@pytest.mark.slow
def test_what_one_process_sees_stops_them_all(tmp_path):
    script, folder = tmp_path / "train.py", tmp_path / "gan"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(Path(__file__).parent), str(folder)],
        capture_output=True, text=True, timeout=500, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert (
        "another device became infinite or not a number. Lower `gan.autoencoder_lr`" in done.stdout
    )
    assert not (folder / CHECKPOINT).exists()
