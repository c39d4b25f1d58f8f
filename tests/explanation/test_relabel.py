"""Shuffled labels are learned, maps are compared, and the network gets its weights back."""

import pytest
import torch
from test_explain import FAST, study
from toy_networks import blob_images, convolutional

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.data.loading import LabelledImages
from sonobalance.explanation.layers import layer_of
from sonobalance.explanation.relabel import label_check, relabelled, shuffled_labels
from sonobalance.explanation.study import Study


@pytest.fixture(scope="module")
def train():
    pixels = torch.randint(0, 256, (24, 1, 64, 64), generator=torch.Generator().manual_seed(0))
    ids = tuple(f"t{i}" for i in range(24))
    return LabelledImages(pixels.byte(), torch.arange(24) % 3, ids, ("a", "b", "c"))


def test_labels_are_dealt_anew_and_keep_their_counts(train):
    found = shuffled_labels(train, 24, seed=0)
    assert sorted(found.targets.tolist()) == sorted(train.targets.tolist())
    assert found.ids == train.ids
    assert not torch.equal(found.targets, train.targets)
    assert torch.equal(shuffled_labels(train, 24, seed=0).targets, found.targets)
    assert len(shuffled_labels(train, 10, seed=0)) == 10


@pytest.mark.parametrize(
    ("attention", "partners"), [(False, []), (True, []), (True, ["test_resnet"])]
)
def test_shuffled_labels_are_learned_by_heart_and_forgotten_again(train, attention, partners):
    torch.manual_seed(0)
    model = AttentiveClassifier(
        "test_resnet", 3, "both", 64, lesion_attention=attention, partners=partners
    ).train()
    before = {name: p.detach().clone() for name, p in model.state_dict().items()}
    shuffled = shuffled_labels(train, 24, seed=0)
    with relabelled(model, shuffled, batch_size=8, seed=0) as learned:
        assert learned > 0.9
        assert not model.training
        changed = [n for n, p in model.state_dict().items() if not torch.equal(p, before[n])]
        assert changed
        assert not any("running" in name for name in changed)
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_a_map_that_cannot_change_is_unfit_and_one_that_follows_the_labels_is_fit(tmp_path):
    """With one channel a map is the image times a number, whatever the labels."""
    model, layer, images, originals, masks, groups, settings = study(FAST)
    model.features.weight.data = torch.ones(2, 1, 1, 1)

    def check(model, layer, images):
        p = torch.full((len(images), len(images.classes)), 0.5).double().numpy()
        asked = Study(
            model, layer, images, originals, masks, [None] * len(images), groups, p, settings, 0
        )
        return label_check(asked, images, range(8), ())

    stuck = check(model, layer, images)["grad-cam"]
    assert stuck["fit"] is False
    assert "unfit" in stuck["sentence"]
    noise = torch.randn(len(images), 1, 64, 64, generator=torch.Generator().manual_seed(0))
    pixels = (noise * 40 + 128).clamp(0, 255).byte()
    many = LabelledImages(pixels, images.targets, images.ids, images.classes)
    torch.manual_seed(0)
    network = AttentiveClassifier("test_resnet", 2, "none", 64)
    found = check(network, layer_of(network.target_layer), many)["grad-cam"]
    assert found["learned"] > 0.9
    assert found["absolute"] < stuck["absolute"]
    assert set(found) == {
        "learned", "rank_correlation", "absolute", "chance", "fit", "sentence",
    }  # fmt: skip


def test_any_network_can_learn_them():
    model, (images, _) = convolutional(), blob_images(6, 16)
    pixels = ((images + 1) * 127.5).byte()
    some = LabelledImages(pixels, torch.arange(6) % 3, tuple("abcdef"), ("x", "y", "z"))
    with relabelled(model, some, batch_size=2, seed=0) as learned:
        assert 0 <= learned <= 1
