"""The lesion head changes nothing at first, learns outlines, and its evidence adds up."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import interpolate

from sonobalance.classify.lesion import (
    EMPTY,
    attention,
    outline_loss,
    pooled,
    spread,
    weighted,
)
from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.predict import Predictor
from sonobalance.classify.train import effective, train_classifier
from sonobalance.classify.weights import load_classifier
from sonobalance.data.loading import Outlines, to_unit
from sonobalance.errors import InputError
from sonobalance.files import read_lines

CPU = torch.device("cpu")
BACKBONES = ["test_resnet", "test_efficientnet", "test_vit", "test_convnext"]


def images(n=2, side=64):
    return torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def make(backbone, lesion=True):
    torch.manual_seed(1)
    return AttentiveClassifier(backbone, 3, "both", 64, lesion_attention=lesion).eval()


def stirred(backbone):
    """A network whose lesion head has something to say."""
    model = make(backbone)
    torch.nn.init.normal_(model.lesion.draw.weight)
    torch.nn.init.normal_(model.lesion.classify.weight)
    return model


@pytest.fixture
def outlined(make_images):
    """(n, seed) → images whose discs, and only those, have a mask; empty masks are known."""

    def make(n=12, seed=0, prefix="x", side=32):
        plain = make_images(n, side, seed, prefix)
        dark = (plain.pixels < 25) & (plain.targets == 0)[:, None, None, None]
        masks = dark.to(torch.uint8) * 255
        return replace(plain, outlines=Outlines(masks, torch.ones(n, dtype=torch.bool)))

    return make


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_fresh_head_leaves_the_logits_alone(backbone):
    model, plain = make(backbone), make(backbone, lesion=False)
    plain.load_state_dict(model.state_dict(), strict=False)
    torch.testing.assert_close(model(images()), plain(images()))
    assert (model.decide(images())[1] < 0).all()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_linear_classifier_of_the_features_can_be_taken_over(backbone):
    model = stirred(backbone)
    features = model.features(images())
    weight, bias = torch.randn(3, features.shape[1]), torch.randn(3)
    assert model.set_head(weight, bias)
    torch.testing.assert_close(model(images()), features @ weight.T + bias, atol=1e-4, rtol=1e-4)
    assert not model.set_head(weight[:, 1:], bias)


def test_the_pooled_mean_is_that_of_enlarged_features():
    torch.manual_seed(0)
    features, outline = torch.randn(2, 5, 3, 4), torch.randn(2, 1, 12, 8)
    inside = outline.sigmoid()
    large = interpolate(features, size=(12, 8), mode="bilinear", align_corners=False)
    total = inside.sum((2, 3)) + EMPTY * 96
    torch.testing.assert_close(pooled(features, outline), (large * inside).sum((2, 3)) / total)
    nothing = pooled(features, torch.full((2, 1, 12, 8), -30.0))
    assert nothing.abs().max() < 1e-6
    assert (attention(outline).sum((1, 2, 3)) < 1).all()


@pytest.mark.parametrize("backbone", ["test_resnet", "test_efficientnet"])
def test_evidence_adds_up_to_the_logit(backbone):
    model, targets = stirred(backbone), torch.tensor([2, 0])
    logits = model(images()).gather(1, targets[:, None])[:, 0]
    found = model.evidence(images(), targets)
    assert found.shape[2] > model.target_layer.layout.height
    whole = found.sum((1, 2, 3)) + model.head.bias[targets]
    torch.testing.assert_close(whole, logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(12, 8), (13, 7), (7, 5)])
def test_spread_evidence_adds_up_on_any_grid(size):
    torch.manual_seed(0)
    features, weights = torch.rand(2, 5, 4, 3), torch.randn(2, 5)
    found = spread(features, weights, torch.Size(size))
    assert found.shape == (2, 1, *size)
    torch.testing.assert_close(found.sum((1, 2, 3)), (weights * features.mean((2, 3))).sum(1))
    if size == (12, 8):
        large = interpolate(weighted(features, weights), size=size, mode="bilinear")
        torch.testing.assert_close(found[..., 1:-1], large[..., 1:-1] / 96, atol=0.02, rtol=0)


def test_no_evidence_without_a_linear_head_on_means():
    assert make("test_resnet", lesion=False).evidence(images(), torch.tensor([0, 1])) is None
    assert make("test_convnext").evidence(images(), torch.tensor([0, 1])) is None


def test_outline_loss_by_hand():
    masks = torch.zeros(2, 1, 4, 4)
    masks[0, :, :2] = 1
    sure = torch.where(masks > 0.5, 40.0, -40.0)
    both = torch.tensor([True, True])
    assert outline_loss(sure, masks, both) == pytest.approx(0, abs=1e-6)
    assert outline_loss(sure, masks, torch.tensor([False, False])) == 0
    unsure = torch.zeros(2, 1, 4, 4)  # entropy log 2, dice 1 - (2·4 + 1)/(8 + 8 + 1)
    expected = 2 * 0.693147 + 1 - 9 / 17
    assert outline_loss(unsure, masks, torch.tensor([True, False])) == pytest.approx(expected)
    fine = interpolate(masks, scale_factor=2, mode="nearest")
    assert outline_loss(unsure, fine, torch.tensor([True, False])) == pytest.approx(expected)


@pytest.fixture
def settings(small_settings):
    return small_settings.model_copy(
        update={"epochs": 30, "augmentation": "none", "dropout": 0.0, "precision": "float32"}
    )


def test_it_learns_a_blob_and_looks_at_it(tmp_path, outlined, settings):
    train, val = outlined(24, side=64), outlined(9, seed=1, prefix="v", side=64)
    settings = settings.model_copy(
        update={"image_size_px": 64, "mask_weight": 3.0, "epochs": 20, "outline_lr": 5e-3}
    )
    folder = train_classifier(train, val, settings, seed=0, folder=tmp_path, device=CPU)
    model = Predictor.load(folder, CPU).model
    with torch.no_grad():
        drawn = model.decide(to_unit(val.pixels))[1].sigmoid()
        found = model.evidence(to_unit(val.pixels), val.targets)
    truth = interpolate(val.outlines.masks.float() / 255, size=drawn.shape[2:], mode="area")
    discs = val.targets == 0
    assert drawn[discs][truth[discs] > 0.5].mean() > 0.6
    assert drawn[truth < 0.01].mean() < 0.2
    inside = (found.clamp(min=0) * truth)[discs].sum() / found.clamp(min=0)[discs].sum()
    assert inside > 1.3 * truth[discs].mean()


def test_without_masks_there_is_no_lesion_head(tmp_path, make_images, settings, outlined):
    plain = make_images(6)
    assert effective(settings, outlined(6)).lesion_attention
    assert not effective(settings, plain).lesion_attention
    short = settings.model_copy(update={"epochs": 1})
    train_classifier(plain, plain, short, seed=0, folder=tmp_path, device=CPU)
    assert Predictor.load(tmp_path, CPU).model.lesion is None


def test_synthetic_images_have_unknown_outlines(outlined, make_images):
    joined = outlined(4).join(make_images(3, prefix="s"))
    assert joined.outlines.known.tolist() == [True] * 4 + [False] * 3
    assert joined.take([5, 0]).outlines.known.tolist() == [False, True]
    assert make_images(2).join(make_images(2, prefix="s")).outlines is None


def test_start_from_a_classifier_of_other_classes(tmp_path, outlined, settings):
    train, short = outlined(12), settings.model_copy(update={"epochs": 2})
    first = train_classifier(train, train, short, seed=0, folder=tmp_path, device=CPU)
    source = Predictor.load(first, CPU).model
    other = AttentiveClassifier("test_resnet", 2, "both", 32, lesion_attention=True)
    load_classifier(other, first)
    left, right = other.state_dict(), source.state_dict()
    heads = {"backbone.fc.weight", "backbone.fc.bias", "lesion.classify.weight"}
    assert {name for name in left if not torch.equal(left[name], right[name])} == heads
    plain = AttentiveClassifier("test_resnet", 2, "none", 32)
    load_classifier(plain, first)
    assert torch.equal(plain.backbone.conv1[0].weight, source.backbone.conv1[0].weight)


def test_a_training_goes_on_from_init_and_says_so(tmp_path, outlined, make_images, settings):
    short = settings.model_copy(update={"epochs": 1})
    first = train_classifier(
        outlined(12), outlined(6, 1), short, seed=0, folder=tmp_path / "a", device=CPU
    )
    plain = make_images(9)
    again = short.model_copy(update={"init": first})
    assert effective(again, plain).lesion_attention
    second = train_classifier(plain, plain, again, seed=0, folder=tmp_path / "b", device=CPU)
    page = Predictor.load(second, CPU).description
    assert page["init_sha256"] == Predictor.load(first, CPU).description["weights_sha256"]
    assert page["outlined_images"] == 0
    assert str(tmp_path) not in (second / "model.json").read_text()


def test_an_unusable_init_is_one_sentence(tmp_path, outlined, settings):
    with pytest.raises(InputError, match=r"`classifier\.init` at .*no such file"):
        effective(settings.model_copy(update={"init": tmp_path}), outlined(3).take([]))
    short = settings.model_copy(update={"epochs": 1})
    train_classifier(outlined(6), outlined(6), short, seed=0, folder=tmp_path, device=CPU)
    with pytest.raises(InputError, match=r"set `classifier\.backbone` to its own"):
        load_classifier(AttentiveClassifier("test_vit", 3, "none", 32), tmp_path)


def test_masks_weigh_as_told(tmp_path, outlined, settings):
    losses, train = [], outlined(8)
    known = (train.outlines.masks.float() / 255)[train.outlines.known]
    for weight in (0.0, 10.0):
        chosen = settings.model_copy(update={"epochs": 15, "mask_weight": weight})
        folder = tmp_path / str(weight)
        train_classifier(train, outlined(4), chosen, seed=0, folder=folder, device=CPU)
        drawn = Predictor.load(folder, CPU).model.decide(to_unit(train.pixels))[1]
        fine = interpolate(drawn[train.outlines.known], size=known.shape[-2:], mode="bilinear")
        losses.append(outline_loss(fine, known, torch.ones(len(known), dtype=torch.bool)))
    assert losses[1] < losses[0] - 0.01


def test_outlines_come_first_on_a_pretrained_backbone(tmp_path, outlined, settings):
    short = settings.model_copy(update={"epochs": 1})
    first = train_classifier(
        outlined(12), outlined(6, 1), short, seed=0, folder=tmp_path / "a", device=CPU
    )
    again = short.model_copy(update={"init": first, "outline_epochs": 3})
    second = train_classifier(
        outlined(12), outlined(6, 1), again, seed=0, folder=tmp_path / "b", device=CPU
    )
    page = Predictor.load(second, CPU).description
    assert page["epochs"] == 5
    assert [row["epoch"] for row in read_lines(second / "stats.jsonl")] == [3, 4, 5]
