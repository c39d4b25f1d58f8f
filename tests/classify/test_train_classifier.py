"""Training learns, repeats itself bit for bit, and survives being killed."""

import json
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from sonobalance.classify import epochs as module
from sonobalance.classify import train as training
from sonobalance.classify.build import network
from sonobalance.classify.features import model_features
from sonobalance.classify.learner import new_learner, start_head
from sonobalance.classify.predict import Predictor, model_logits
from sonobalance.classify.probe import fit_probe
from sonobalance.classify.train import effective, train_classifier
from sonobalance.data.loading import Outlines
from sonobalance.errors import InputError, SettingsError
from sonobalance.files import read_lines, sha256_of
from sonobalance.progress import bar

CPU = torch.device("cpu")


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def fit(folder, train, val, settings, seed=0, **options):
    return train_classifier(train, val, settings, seed=seed, folder=folder, device=CPU, **options)


def test_overfits_eight_phantoms(tmp_path, make_images, small_settings, pretrained):
    train = make_images(8)
    settings = small_settings.model_copy(
        update={
            "weights": pretrained, "head_start": "random", "frozen_share": 0.0, "epochs": 15,
            "label_smoothing": 0.0, "augmentation": "none", "dropout": 0.0,
        }
    )  # fmt: skip
    predictor = Predictor.load(fit(tmp_path, train, train, settings), CPU)
    assert (predictor.logits(train).argmax(1) == train.targets.numpy()).all()
    assert predictor.probabilities(train).max(1).min() > 0.9


def test_a_backbone_without_a_linear_head_is_fine_tuned(tmp_path, make_images, small_settings):
    """No regression can become its head, at the end as little as at the start."""
    state = timm.create_model("dla46x_c", num_classes=0).state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "w.safetensors")
    settings = small_settings.model_copy(
        update={
            "backbone": "dla46x_c", "weights": tmp_path / "w.safetensors", "head_start": "random",
            "epochs": 1, "head_epochs": 1, "lesion_attention": False,
        }
    )  # fmt: skip
    images = make_images(6)
    assert Predictor.load(fit(tmp_path / "fit", images, images, settings), CPU).model.head is None


@pytest.mark.parametrize(
    ("killed_at", "head_start"), [(1, "random"), (4, "random"), (4, "probe"), (12, "probe")]
)
def test_killed_and_called_again_equals_undisturbed(  # noqa: PLR0917
    tmp_path, make_images, small_settings, pretrained, monkeypatch, killed_at, head_start
):
    train, val = make_images(11), make_images(6, seed=1, prefix="v")
    masks = (train.pixels < 25).to(torch.uint8) * 255
    train = replace(train, outlines=Outlines(masks, torch.ones(11, dtype=torch.bool)))
    settings = small_settings.model_copy(
        update={
            "weights": pretrained, "head_start": head_start, "head_epochs": 1, "epochs": 2,
            "outline_epochs": 1, "members": 2,
        }
    )  # fmt: skip
    whole = fit(tmp_path / "whole", train, val, settings)
    done, learn = 0, module.learn

    def dying(*args, **options):
        nonlocal done
        done += 1
        if done == killed_at:
            raise Killed
        return learn(*args, **options)

    monkeypatch.setattr(module, "learn", dying)
    with pytest.raises(Killed):
        fit(tmp_path / "broken", train, val, settings)
    monkeypatch.setattr(module, "learn", learn)
    broken = fit(tmp_path / "broken", train, val, settings)
    for name in ("weights.safetensors", "model.json", "stats.jsonl"):
        assert (whole / name).read_bytes() == (broken / name).read_bytes()
    assert not (broken / "checkpoint.safetensors").exists()


def test_a_checkpoint_of_another_seed_is_not_continued(
    tmp_path, make_images, small_settings, monkeypatch
):
    train, val = make_images(6), make_images(6, seed=1)
    settings = small_settings.model_copy(update={"epochs": 2})
    alone = fit(tmp_path / "alone", train, val, settings, seed=1)
    monkeypatch.setattr(training, "write_model", lambda *_a, **_k: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        fit(tmp_path / "mixed", train, val, settings, seed=0)
    monkeypatch.undo()
    mixed = fit(tmp_path / "mixed", train, val, settings, seed=1)
    assert sha256_of(alone / "weights.safetensors") == sha256_of(mixed / "weights.safetensors")


def test_the_page_tells_what_was_done(tmp_path, make_images, small_settings, pretrained):
    train, val = make_images(7), make_images(5, seed=1)
    synthetic = make_images(4, seed=2, prefix="s")
    settings = small_settings.model_copy(update={"weights": pretrained})
    folder = fit(tmp_path / "arm", train, val, settings, synthetic=synthetic)
    page = json.loads((folder / "model.json").read_text())
    assert page["classes"] == ["disc", "nothing", "square"]
    assert page["images"] == {
        "real": {"disc": 3, "nothing": 2, "square": 2},
        "synthetic": {"disc": 2, "nothing": 1, "square": 1},
        "validation": {"disc": 2, "nothing": 2, "square": 1},
    }
    assert page["weights_sha256"] == sha256_of(folder / "weights.safetensors")
    assert page["pretrained_weights_sha256"] == sha256_of(pretrained)
    assert str(tmp_path) not in (folder / "model.json").read_text()
    rows = read_lines(folder / "stats.jsonl")
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 4]  # the average is the last
    assert page["best_epoch"] is None
    assert page["partners"] == ["test_resnet"]
    predictor = Predictor.load(folder, CPU)
    predicted = predictor.probabilities(val)
    hit = np.mean(predicted.argmax(1) == val.targets.numpy())
    loss = -np.log(predicted[np.arange(5), val.targets.numpy()]).mean()
    assert page["validation"]["accuracy"] == pytest.approx(hit)
    assert page["validation"]["log_loss"] == pytest.approx(loss, abs=1e-5)


def test_the_head_starts_as_the_probe_on_frozen_features(make_images, small_settings, pretrained):
    train = make_images(9)
    settings = effective(
        small_settings.model_copy(update={"weights": pretrained, "precision": "float32"}),
        train,
    )
    learner = new_learner(train, settings, seed=0, device=CPU)
    start_head(learner, train, settings)
    model = learner.model
    features = [
        model_features(model, train, image_size_px=32, mirrored=mirrored)
        for mirrored in (False, True)
    ]
    probe = fit_probe(
        np.concatenate(features), train.targets.repeat(2).numpy(), c=settings.head_c / 2
    )
    np.testing.assert_allclose(model_logits(model, train), probe.logits(features[0]), atol=1e-4)


def test_a_patient_training_stops(tmp_path, make_images, small_settings):
    train, val = make_images(6), make_images(6, seed=1)
    val.targets.copy_((val.targets + 1) % 3)  # whatever is learnt is wrong
    settings = small_settings.model_copy(update={"epochs": 40, "patience_epochs": 2})
    folder = fit(tmp_path, train, val, settings)
    rows = read_lines(folder / "stats.jsonl")
    page = json.loads((folder / "model.json").read_text())
    assert len(rows) - 1 == page["epochs"] == page["best_epoch"] + 2


def test_no_averaging_means_the_average_is_the_model(tmp_path, make_images, small_settings):
    train = make_images(6)
    settings = small_settings.model_copy(update={"epochs": 1, "ema_halflife_epochs": 0})
    learner = new_learner(train, settings, seed=0, device=CPU)
    with bar("", 1) as shown:
        module.run_epoch(
            learner, train, torch.ones(6), settings, size=6, seed=0, outline=0, warm=0, shown=shown
        )  # fmt: skip
    state = learner.model.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in learner.average.state_dict().items())


@pytest.mark.parametrize("balance", ["class-weights", "over-sampling"])
def test_every_way_of_balancing_trains(tmp_path, make_images, small_settings, balance):
    settings = small_settings.model_copy(
        update={"epochs": 1, "balance": balance, "focal_gamma": 2.0, "augmentation": "strong"}
    )
    folder = fit(tmp_path, make_images(7), make_images(5, seed=1), settings)
    assert set(load_file(folder / "weights.safetensors")) == set(
        network(effective(settings, make_images(7)), 3).state_dict()
    )


def test_bad_input_is_one_sentence(tmp_path, make_images, small_settings):
    train, val = make_images(6), make_images(6, seed=1)
    with pytest.raises(InputError, match="in VAL"):
        fit(tmp_path, train, val.take([]), small_settings)
    with pytest.raises(InputError, match="'square': 0"):
        fit(tmp_path, train.take([0, 1, 3]), val, small_settings)
    with pytest.raises(InputError, match=r"side 32 px, but got .* side 48 px"):
        fit(tmp_path, train, make_images(6, side=48), small_settings)


def test_a_diverging_training_says_what_to_lower(tmp_path, make_images, small_settings):
    settings = small_settings.model_copy(update={"backbone_lr": 1e30, "head_lr": 1e30})
    with pytest.raises(SettingsError, match="lower `classifier"):
        fit(tmp_path, make_images(9), make_images(6, seed=1), settings)


def test_synthetic_images_cost_no_extra_steps(tmp_path, make_images, small_settings, monkeypatch):
    """Arms of the benchmark are given the same number of images to see."""
    seen = []
    real = module.learn

    def spying(learner, images, weights, settings, **options):
        seen.append(images.ids)
        return real(learner, images, weights, settings, **options)

    monkeypatch.setattr(module, "learn", spying)
    train, val = make_images(12), make_images(6, seed=1, prefix="v")
    fit(tmp_path / "plain", train, val, small_settings)
    plain, _ = [len(ids) for ids in seen], seen.clear()
    synthetic = make_images(12, seed=2, prefix="s")
    fit(tmp_path / "more", train, val, small_settings, synthetic=synthetic)
    assert [len(ids) for ids in seen] == plain
    shown = {key for ids in seen for key in ids}
    assert shown & set(synthetic.ids)
    assert shown & set(train.ids)


def test_batches_of_an_epoch_add_up_to_it_in_the_bar(capsys):
    with bar("training", 2) as shown:
        for _ in range(6):
            shown.advance(1 / 3)
    assert "2/2" in capsys.readouterr().err
