"""Local weights: what fits is copied, what does not is said."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.weights import load_backbone
from sonobalance.errors import InputError


def saved(path, name, **options):
    model = timm.create_model(name, **options)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path)
    return model


@pytest.mark.parametrize("classes", [0, 3, 1000])
def test_the_head_may_be_absent_equal_or_of_another_size(tmp_path, classes):
    source = saved(tmp_path / "w.safetensors", "test_resnet", num_classes=classes)
    model = AttentiveClassifier("test_resnet", 3, "both", 64)
    head = model.head.weight.clone()
    load_backbone(model, tmp_path / "w.safetensors")
    got = model.backbone.state_dict()
    wanted = {k: v for k, v in source.state_dict().items() if not k.startswith("fc.")}
    assert all(torch.equal(got[k], v) for k, v in wanted.items())
    assert torch.equal(model.head.weight, source.fc.weight if classes == 3 else head)


def test_weights_of_another_network_are_refused_with_a_count(tmp_path):
    saved(tmp_path / "w.safetensors", "test_efficientnet")
    with pytest.raises(InputError, match=r"only \d+ of its \d+ tensors match"):
        load_backbone(AttentiveClassifier("test_resnet", 3), tmp_path / "w.safetensors")


def test_positions_of_a_transformer_are_resampled(tmp_path):
    saved(tmp_path / "w.safetensors", "test_vit", img_size=96)
    model = AttentiveClassifier("test_vit", 3, "none", 64)
    load_backbone(model, tmp_path / "w.safetensors")
    assert model(torch.zeros(1, 1, 64, 64)).shape == (1, 3)


def test_a_missing_and_a_damaged_file_are_named(tmp_path):
    model = AttentiveClassifier("test_resnet", 3)
    with pytest.raises(InputError, match="no such file"):
        load_backbone(model, tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes(b"not weights")
    with pytest.raises(InputError, match="safetensors file"):
        load_backbone(model, tmp_path / "w.safetensors")
