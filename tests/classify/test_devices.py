"""Several processes take the steps of one, and leave what one leaves."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from sonobalance.classify import learner as module
from sonobalance.classify.checkpoint import fingerprint_of
from sonobalance.classify.learner import new_learner
from sonobalance.classify.schedule import training_mode
from sonobalance.classify.train import check_shares, train_classifier
from sonobalance.errors import SettingsError
from sonobalance.files import read_json, read_lines, write_text
from sonobalance.parallel import Crew
from sonobalance.randomness import torch_generator

CPU = torch.device("cpu")
SCRIPT = """
import sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
from conftest import outlined, phantoms
from sonobalance.classify import epochs, train
from sonobalance.config import ClassifierSettings
from sonobalance.data.cleaning import cleaned

share, learn, steps = train._train_share, epochs.learn, 0

class Killed(BaseException):
    pass

def dying(*given, **named):
    global steps
    steps += 1
    if steps == 14:
        raise Killed
    return learn(*given, **named)

def twice(*given, **named):
    epochs.learn = dying
    try:
        share(*given, **named)
    except Killed:
        print("died", flush=True)
    epochs.learn = learn
    share(*given, **named)

if __name__ != "__main__":  # in the processes, which run this part anew
    train._train_share = twice
else:
    torch.set_num_threads(1)
    cpu, folder = torch.device("cpu"), Path(sys.argv[2])
    one = ClassifierSettings.model_validate_json((folder / "settings.json").read_text())
    two = one.model_copy(update={"devices": 2})
    images, val = outlined(phantoms(11)), phantoms(6, seed=1, prefix="v")
    for name, settings in {"one": one, "two": two}.items():
        with cleaned(True):
            train.train_classifier(images, val, settings, seed=0, folder=folder / name, device=cpu)
"""


@pytest.fixture
def settings(small_settings, pretrained):
    return small_settings.model_copy(update={"weights": pretrained, "precision": "float32"})


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(tmp_path, settings):
    """Over gloo, both killed on the way: uneven batches, two members, a second backbone."""
    settings = settings.model_copy(
        update={
            "backbone_lr": 1e-3, "epochs": 1, "outline_epochs": 1, "members": 2, "mixup": 0.4,
            "balance": "class-weights", "second_backbone": "test_efficientnet",
            "second_weights": saved(tmp_path),
        }
    )  # fmt: skip
    (tmp_path / "settings.json").write_text(settings.model_dump_json())
    script = tmp_path / "fit.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(Path(__file__).parent), str(tmp_path)],
        capture_output=True, text=True, timeout=500, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("died") == 2
    one, two = tmp_path / "one", tmp_path / "two"
    first, second = (load_file(folder / "weights.safetensors") for folder in (one, two))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=1e-4, msg=name)
    for name in ("stats.jsonl", "second/stats.jsonl"):
        np.testing.assert_allclose(numbers(two / name), numbers(one / name), rtol=1e-3)
    pages = [read_json(folder / "model.json") for folder in (one, two)]
    assert pages[0]["preprocessing"] == pages[1]["preprocessing"]  # tells of cleaned images
    assert files(one) == files(two)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("mixing", [{}, {"mixup": 0.4}, {"cutmix": 1.0}])
def test_the_losses_of_all_shares_add_up_to_that_of_the_batch(
    make_images, outline, settings, size, mixing
):
    """Of seven images, weighed unequally, whose lesions are not all known."""
    images, weights = outline(make_images(7)), torch.arange(1.0, 8.0)
    settings = settings.model_copy(update={"focal_gamma": 1.0} | mixing)
    learner = new_learner(images, settings, seed=0, device=CPU)
    training_mode(learner.model, frozen_statistics=True)

    def slope(crew):
        learner.crew = crew
        learner.optimizer.zero_grad()
        loss = module._loss(learner, images, weights, settings, torch_generator(0, "augment"))
        loss.backward()
        grads = [p.grad for p in learner.model.parameters() if p.grad is not None]
        return torch.cat([loss.detach()[None], *(grad.flatten() for grad in grads)])

    total = sum(slope(Crew(rank, size)) for rank in range(size))
    torch.testing.assert_close(total, slope(Crew()), rtol=1e-4, atol=1e-5)


def test_devices_that_cannot_share_the_batches_are_refused(tmp_path, make_images, settings):
    three = settings.model_copy(update={"devices": 3})
    check_shares(three, 11)  # batches of 4, 4 and 3
    with pytest.raises(SettingsError, match=r"`classifier.devices` to be at most 3, .* but got 4"):
        check_shares(three.model_copy(update={"devices": 4}), 11)
    scratch, images = three.model_copy(update={"weights": None}), make_images(11)
    with pytest.raises(SettingsError, match="pretrained weights to fine-tune on 3 devices"):
        train_classifier(images, images, scratch, seed=0, folder=tmp_path / "no", device=CPU)
    assert not (tmp_path / "no").exists()


def test_a_training_can_go_on_with_more_devices(make_images, small_settings):
    parts, pair = [make_images()], small_settings.model_copy(update={"devices": 2})
    assert fingerprint_of(parts, pair, 0, CPU) == fingerprint_of(parts, small_settings, 0, CPU)


def test_all_but_the_first_process_write_what_is_thrown_away(tmp_path):
    (tmp_path / "kept").write_text("from before")
    with Crew(1, 2).place(tmp_path) as place:
        assert (place / "kept").read_text() == "from before"
        write_text(place / "kept", "mine")
        write_text(place / "new", "mine")
    assert not place.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept").read_text() == "from before"
    with Crew(0, 2).place(tmp_path) as place:
        assert place == tmp_path


def numbers(path):
    return [[value or 0 for value in row.values()] for row in read_lines(path)]


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def saved(folder):
    """Weights of another small network, as if trained elsewhere."""
    torch.manual_seed(4)
    path, state = folder / "second.safetensors", timm.create_model("test_efficientnet").state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, path)
    return path
