"""The mean of several networks is what is kept, and each member is what it is said to be."""

import json
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from sonobalance.classify.learner import new_learner, start_head
from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.predict import Predictor, model_logits
from sonobalance.classify.train import effective, train_classifier
from sonobalance.classify.weights import check_start
from sonobalance.config import ClassifierSettings
from sonobalance.data.loading import Outlines
from sonobalance.errors import InputError, SettingsError
from sonobalance.files import sha256_of, write_json

CPU = torch.device("cpu")


def fit(folder, train, val, settings, **options):
    return train_classifier(train, val, settings, seed=0, folder=folder, device=CPU, **options)


@pytest.fixture
def settings(small_settings, pretrained):
    given = {"weights": pretrained, "precision": "float32", "epochs": 1, "mirror_test": False}
    return small_settings.model_copy(update=given)


def test_the_average_is_the_mean_of_the_first_head_and_every_member(
    tmp_path, make_images, settings
):
    train, val = make_images(9), make_images(6, seed=1, prefix="v")
    settings = settings.model_copy(update={"epochs": 2})
    one = Predictor.load(fit(tmp_path / "one", train, val, settings), CPU)
    two = fit(tmp_path / "two", train, val, settings.model_copy(update={"members": 2}))
    learner = new_learner(train, effective(settings, train), seed=0, device=CPU)
    start_head(learner, train, settings)
    first = model_logits(learner.average, val)
    joined = Predictor.load(two, CPU)
    assert [len(p.model.partners) for p in (one, joined)] == [1, 2]
    np.testing.assert_allclose(model_logits(joined.model.partners[0], val), first, atol=1e-5)
    alone = 2 * one.logits(val) - first  # of the network that was fine-tuned
    np.testing.assert_allclose(model_logits(joined.model.partners[1], val), alone, atol=1e-4)
    own = 3 * joined.logits(val) - first - alone
    assert np.abs(own - alone).max() > 1e-3  # another order and augmentation


def test_a_partner_keeps_its_backbone_and_gets_a_head_for_these_classes(
    tmp_path, make_images, settings
):
    others, train = make_images(9, seed=5, prefix="o"), make_images(12)
    two = replace(others, targets=(others.targets > 0).long(), classes=("disc", "other"))
    masks = (train.pixels < 25).to(torch.uint8) * 255
    train = replace(train, outlines=Outlines(masks, torch.ones(12, dtype=torch.bool)))
    known = settings.model_copy(update={"keep": "best", "frozen_share": 0.0})
    elsewhere = fit(tmp_path / "elsewhere", two, two, known)
    joined = Predictor.load(
        fit(tmp_path / "joined", train, train, settings.model_copy(update={"partner": elsewhere})),
        CPU,
    )
    partner, source = joined.model.partners[-1], Predictor.load(elsewhere, CPU).model
    assert len(joined.model.partners) == 2
    left, right = partner.backbone.state_dict(), source.backbone.state_dict()
    body = [name for name in left if not name.startswith("fc.")]
    assert all(torch.equal(left[name], right[name]) for name in body)
    accuracy = (model_logits(partner, train).argmax(1) == train.targets.numpy()).mean()
    assert accuracy > 0.6
    assert (
        joined.description["partner_sha256"]
        == Predictor.load(elsewhere).description["weights_sha256"]
    )
    assert "partner" not in joined.description["settings"]


def test_a_second_backbone_is_trained_as_it_would_be_alone(tmp_path, make_images, settings):
    train, val = make_images(9), make_images(6, seed=1, prefix="v")
    masks = (train.pixels < 25).to(torch.uint8) * 255
    train = replace(train, outlines=Outlines(masks, torch.ones(9, dtype=torch.bool)))
    other = {"backbone": "test_efficientnet", "weights": saved("test_efficientnet", tmp_path)}
    alone = [
        Predictor.load(fit(tmp_path / str(i), train, val, chosen), CPU)
        for i, chosen in enumerate((settings, settings.model_copy(update=other)))
    ]
    both = settings.model_copy(update={f"second_{name}": value for name, value in other.items()})
    joined = Predictor.load(fit(tmp_path / "both", train, val, both), CPU)
    assert joined.description["partners"] == ["test_resnet", *["test_efficientnet"] * 2]
    assert joined.description["second_weights_sha256"] == sha256_of(other["weights"])
    assert not {"second_weights", "second_backbone"} & set(joined.description["settings"])
    mean = sum(predictor.logits(val) for predictor in alone) / 2
    np.testing.assert_allclose(joined.logits(val), mean, atol=1e-4)


def test_a_second_backbone_is_not_tuned_again_after_a_kill(
    tmp_path, make_images, settings, monkeypatch
):
    train, val = make_images(9), make_images(6, seed=1, prefix="v")
    given = {
        "second_backbone": "test_efficientnet",
        "second_weights": saved("test_efficientnet", tmp_path),
    }
    both = settings.model_copy(update=given)
    whole = fit(tmp_path / "whole", train, val, both)
    with monkeypatch.context() as patched:
        patched.setattr("sonobalance.classify.train.join", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fit(tmp_path / "killed", train, val, both)
    monkeypatch.setattr("sonobalance.classify.tuning.run_epoch", lambda *_, **__: 1 / 0)
    again = fit(tmp_path / "killed", train, val, both)
    assert sha256_of(again / "weights.safetensors") == sha256_of(whole / "weights.safetensors")
    assert not list(again.rglob("checkpoint*"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"second_weights": "w"}, "Expected `classifier.second_backbone`"),
        ({"second_backbone": "resnet10t", "weights": "w"}, "Expected `classifier.second_weights`"),
        ({"second_backbone": "resnet10t", "second_weights": "w"}, "Expected `classifier.weights`"),
        ({"second_backbone": "resnet10tt", "pretrained": True}, "resnet10tt'; near: resnet10t"),
        ({"second_backbone": "resnet10t", "second_weights": "w", "pretrained": True}, "at w, but"),
    ],
)
def test_half_of_a_second_backbone_is_refused(given, said):
    settings = ClassifierSettings.model_validate({"backbone": "test_resnet"} | given)
    with pytest.raises((InputError, SettingsError), match=said):
        check_start(settings)


@pytest.mark.parametrize(
    "given", [{"zoom_test": 1.0}, {"lesion_attention": False}, {"frozen": True}]
)
def test_a_look_at_the_lesion_that_cannot_be_had_is_refused(given):
    lesion = {"backbone": "test_resnet", "zoom_test": 1.5, "zoom_on": "lesion"}
    check_start(ClassifierSettings.model_validate(lesion))
    with pytest.raises(SettingsError, match=r"Expected `classifier\.zoom_test` above"):
        check_start(ClassifierSettings.model_validate(lesion | given))


def test_without_masks_the_second_look_is_at_the_middle_and_says_so(make_images):
    settings = ClassifierSettings(backbone="test_resnet", zoom_test=1.5, zoom_on="lesion")
    found = effective(settings, make_images(9))
    assert (found.lesion_attention, found.zoom_test, found.zoom_on) == (False, 1.5, "middle")


@pytest.mark.parametrize("name", ["init", "partner"])
def test_a_classifier_that_is_missing_is_refused_at_once(tmp_path, name):
    settings = ClassifierSettings.model_validate({"backbone": "test_resnet", name: tmp_path})
    with pytest.raises(InputError, match=f"Expected `classifier.{name}` at"):
        check_start(settings)


@pytest.mark.parametrize("name", ["init", "partner"])
def test_a_classifier_of_another_backbone_is_refused_at_once(tmp_path, name):
    state = AttentiveClassifier("test_efficientnet", 2).state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "weights.safetensors")
    settings = ClassifierSettings.model_validate({"backbone": "test_resnet", name: tmp_path})
    with pytest.raises(InputError, match=f"`classifier.{name}` to be .* backbone test_resnet"):
        check_start(settings)


@pytest.mark.parametrize("name", ["backbone", "second_backbone"])
def test_gates_at_a_stage_that_a_backbone_lacks_are_refused_at_once(name):
    other = "backbone" if name == "second_backbone" else "second_backbone"
    given = {name: "test_resnet", other: "test_efficientnet", "pretrained": True}
    at = {"attention_at": (len(AttentiveClassifier("test_resnet", 2).stages),)}
    with pytest.raises(SettingsError, match="attention_at"):
        check_start(ClassifierSettings.model_validate(given | at))


def test_a_backbone_without_a_linear_head_is_refused_at_once_where_one_is_fitted():
    settings = ClassifierSettings(backbone="dla46x_c", pretrained=True, image_size_px=64)
    with pytest.raises(SettingsError, match="head_start=random"):
        check_start(settings)
    check_start(settings.model_copy(update={"head_start": "random"}))


def test_weights_of_another_backbone_are_refused_at_once(settings, pretrained):
    other = {"second_backbone": "test_efficientnet", "second_weights": pretrained}
    with pytest.raises(InputError, match="weights of EfficientNet"):
        check_start(settings.model_copy(update=other))


def test_a_second_backbone_needs_outlines_to_learn_where_the_first_knows_some(
    tmp_path, make_images, settings
):
    train = make_images(12)
    masks = (train.pixels < 25).to(torch.uint8) * 255
    outlined = replace(train, outlines=Outlines(masks, torch.ones(12, dtype=torch.bool)))
    init = fit(tmp_path / "init", outlined, outlined, settings)
    both = {"init": init, "second_backbone": "test_efficientnet"}
    assert effective(settings.model_copy(update=both), outlined).lesion_attention
    with pytest.raises(SettingsError, match="masks for a second backbone"):
        effective(settings.model_copy(update=both), train)


def test_a_classifier_that_only_counts_its_partners_is_read(tmp_path, make_images, settings):
    train = make_images(6)
    folder = fit(tmp_path / "one", train, train, settings)
    page, new = json.loads((folder / "model.json").read_text()), Predictor.load(folder, CPU)
    write_json(folder / "model.json", page | {"partners": 1})
    np.testing.assert_array_equal(Predictor.load(folder, CPU).logits(train), new.logits(train))


def saved(name, folder):
    """Weights of a small network, as if trained elsewhere."""
    torch.manual_seed(4)
    state = timm.create_model(name, num_classes=0).state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, folder / f"{name}.safetensors")
    return folder / f"{name}.safetensors"


def test_the_first_head_is_fitted_to_what_the_arm_shows(tmp_path, make_images, settings):
    """Otherwise half of the answer would not know of synthetic images or of class weights."""
    train, val = make_images(9), make_images(6, seed=1, prefix="v")
    synthetic = make_images(6, seed=2, prefix="s")
    plain = Predictor.load(fit(tmp_path / "plain", train, val, settings), CPU).model
    more = fit(tmp_path / "more", train, val, settings, synthetic=synthetic)
    balanced = settings.model_copy(update={"balance": "class-weights"})
    weighted = Predictor.load(fit(tmp_path / "b", train.take(range(8)), val, balanced), CPU).model
    same = Predictor.load(fit(tmp_path / "c", train.take(range(8)), val, settings), CPU).model
    first = plain.partners[0].head.weight
    assert not torch.equal(Predictor.load(more, CPU).model.partners[0].head.weight, first)
    assert not torch.equal(weighted.partners[0].head.weight, same.partners[0].head.weight)


def test_the_head_of_a_partner_is_fitted_to_what_the_arm_shows(tmp_path, make_images, settings):
    train, val = make_images(8), make_images(6, seed=1, prefix="v")
    known = settings.model_copy(update={"keep": "best"})
    elsewhere = fit(tmp_path / "elsewhere", make_images(9, seed=5, prefix="o"), val, known)
    joined = settings.model_copy(update={"partner": elsewhere})
    heads = []
    for name, options in (("plain", {}), ("more", {"synthetic": make_images(6, seed=2)})):
        folder = fit(tmp_path / name, train, val, joined, **options)
        heads.append(Predictor.load(folder, CPU).model.partners[-1].head.weight)
    balanced = joined.model_copy(update={"balance": "class-weights"})
    folder = fit(tmp_path / "weighted", train, val, balanced)
    heads.append(Predictor.load(folder, CPU).model.partners[-1].head.weight)
    assert not torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


@pytest.mark.parametrize("partner", ["test_resnet", "mobilenetv2_035"])
def test_evidence_of_members_adds_up_to_the_mean_logit(partner):
    torch.manual_seed(1)
    model = AttentiveClassifier(
        "test_resnet", 3, "both", 64, lesion_attention=True, partners=[partner]
    )
    for member in (model, model.partners[0]):
        torch.nn.init.normal_(member.lesion.draw.weight)
        torch.nn.init.normal_(member.lesion.classify.weight)
        torch.nn.init.normal_(member.head.bias)
    images, targets = torch.rand(2, 1, 64, 64) * 2 - 1, torch.tensor([2, 0])
    biases = (model.head.bias + model.partners[0].head.bias)[targets] / 2
    whole = model.eval().evidence(images, targets).sum((1, 2, 3)) + biases
    logits, features = model.logits_and_features(images)
    torch.testing.assert_close(
        whole, logits.gather(1, targets[:, None])[:, 0], atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(logits, model(images))
    assert features.shape[1] == sum(model.blocks)


def test_without_a_first_head_nothing_is_averaged(make_images, small_settings, settings):
    train = make_images(6)
    assert effective(settings.model_copy(update={"members": 3}), train).members == 3
    for chosen in (small_settings, settings.model_copy(update={"head_start": "random"})):
        kept = effective(chosen.model_copy(update={"members": 3}), train)
        assert (kept.keep, kept.members, kept.partner) == ("best", 1, None)
