"""Local weights: what fits is copied, what does not is said."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.weights import load_backbone, load_classifier
from sonobalance.errors import InputError
from sonobalance.files import write_json


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


@pytest.mark.parametrize(
    ("name", "size"), [("vit_wee_patch16_reg1_gap_256", 128), ("test_vit4", 64)]
)
def test_positions_without_prefix_tokens_are_resampled_whole(tmp_path, name, size):
    saved(tmp_path / "w.safetensors", name)
    model = AttentiveClassifier(name, 3, "none", size)
    load_backbone(model, tmp_path / "w.safetensors")
    assert model(torch.zeros(1, 1, size, size)).shape == (1, 3)


def test_what_stays_at_random_is_said(tmp_path, capsys):
    model = timm.create_model("test_resnet", num_classes=0)
    state = {k: v.contiguous() for k, v in model.state_dict().items() if k != "conv1.0.weight"}
    save_file(state, tmp_path / "w.safetensors")
    load_backbone(AttentiveClassifier("test_resnet", 3), tmp_path / "w.safetensors")
    assert "1 tensors of test_resnet start at random: conv1.0.weight" in capsys.readouterr().err


def test_biases_of_relative_positions_are_resampled(tmp_path, capsys):
    """Windows shrink with the image; tables of another size would stay at random."""
    name = "swin_tiny_patch4_window7_224"
    source = saved(tmp_path / "w.safetensors", name)
    model = AttentiveClassifier(name, 3, "none", 128)
    load_backbone(model, tmp_path / "w.safetensors")
    assert "start at random" not in capsys.readouterr().err
    table = "layers.3.blocks.0.attn.relative_position_bias_table"
    given, fitted = source.state_dict()[table], model.backbone.state_dict()[table]
    assert given.shape == (169, 24)
    assert fitted.shape == (49, 24)
    torch.testing.assert_close(fitted[24], given[84], atol=1e-3, rtol=0)  # no shift: the middle


@pytest.mark.parametrize("gated", [1, 2, 3])
def test_gates_go_to_the_stages_that_they_are_of(tmp_path, gated):
    theirs = AttentiveClassifier("test_resnet", 2, "both", 64, attention_stages=2)
    ours = AttentiveClassifier("test_resnet", 2, "both", 64, attention_stages=gated)
    for gates in theirs.gated.values():
        for parameter in gates.parameters():
            torch.nn.init.normal_(parameter)
    given = {name: value.contiguous() for name, value in theirs.state_dict().items()}
    save_file(given, tmp_path / "weights.safetensors")
    write_json(tmp_path / "model.json", {"gated_stages": list(theirs.gated)})
    fresh = {name: [p.clone() for p in gates.parameters()] for name, gates in ours.gated.items()}
    load_classifier(ours, tmp_path)
    for name, gates in ours.gated.items():
        wanted = theirs.gated[name].parameters() if name in theirs.gated else fresh[name]
        assert all(torch.equal(*pair) for pair in zip(gates.parameters(), wanted, strict=True))


def test_a_missing_and_a_damaged_file_are_named(tmp_path):
    model = AttentiveClassifier("test_resnet", 3)
    with pytest.raises(InputError, match="no such file"):
        load_backbone(model, tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes(b"not weights")
    with pytest.raises(InputError, match="safetensors file"):
        load_backbone(model, tmp_path / "w.safetensors")
