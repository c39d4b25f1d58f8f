import json
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from sonobalance.errors import InputError
from sonobalance.state import atomic_tensors, load_state, save_state


def assert_same(a: Any, b: Any) -> None:
    """Equal trees: types, keys, values; tensors bit for bit."""
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key, value in a.items():
            assert_same(value, b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    else:
        assert a == b


def test_a_tree_of_everything_comes_back_bit_for_bit(tmp_path: Path) -> None:
    shared = torch.arange(4.0)
    tree = {
        "float": torch.tensor([1.5, float("nan"), -0.0, 1e-45]),
        "half": torch.randn(2, 3, generator=torch.manual_seed(0)).half(),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "strided": torch.arange(12.0).reshape(3, 4).T,
        "twice": [shared, shared],
        "nested": {0: {"a.b": shared}, 1: (1, 2.5, "text", None, True), "list": [[], {}]},
    }
    save_state(tmp_path / "s.safetensors", tree)
    assert_same(load_state(tmp_path / "s.safetensors"), tree)


def test_names_with_dots_do_not_collide(tmp_path: Path) -> None:
    tree = {"a": {"b": torch.ones(1), 0: torch.ones(2)}, "a.b": torch.ones(3), "a.0": torch.ones(4)}
    save_state(tmp_path / "s", tree)
    assert_same(load_state(tmp_path / "s"), tree)


def net() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(4 * 36, 2),
    )  # fmt: skip


def steps(model: torch.nn.Module, optimiser: torch.optim.Optimizer, first: int, last: int) -> None:
    for step in range(first, last):
        x = torch.randn(4, 1, 8, 8, generator=torch.manual_seed(step))
        loss = model(x).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_training_resumes_bit_for_bit(tmp_path: Path, kind: str) -> None:
    def start() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        model = net()
        if kind == "adamw":
            return model, torch.optim.AdamW(model.parameters(), lr=1e-2, amsgrad=True)
        return model, torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9, nesterov=True)

    whole, optimiser = start()
    steps(whole, optimiser, 0, 4)

    half, half_optimiser = start()
    steps(half, half_optimiser, 0, 2)
    path = tmp_path / "checkpoint.safetensors"
    save_state(path, {"model": half.state_dict(), "optimiser": half_optimiser.state_dict()})

    resumed, resumed_optimiser = start()
    saved = load_state(path)
    resumed.load_state_dict(saved["model"])
    resumed_optimiser.load_state_dict(saved["optimiser"])
    steps(resumed, resumed_optimiser, 2, 4)
    assert_same(dict(resumed.state_dict()), dict(whole.state_dict()))
    assert_same(resumed_optimiser.state_dict()["state"], optimiser.state_dict()["state"])


def test_a_saved_tensor_does_not_follow_the_living_one(tmp_path: Path) -> None:
    weight = torch.ones(3)
    save_state(tmp_path / "s", {"w": weight})
    weight += 1
    assert_same(load_state(tmp_path / "s"), {"w": torch.ones(3)})


FULL = "Error while serializing: I/O error: No space left on device (os error 28)"
FORBIDDEN = "Error while serializing: I/O error: Permission denied (os error 13)"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "disk is full"),
        (SafetensorError(FULL), "disk is full"),
        (SafetensorError(FORBIDDEN), r"Permission denied.*choose another --out"),
    ],
)
def test_a_failing_save_leaves_the_previous_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    path = tmp_path / "s.safetensors"
    save_state(path, {"step": 1, "w": torch.ones(2)})

    def fail(_: object, half: Path, **__: object) -> None:
        half.write_bytes(b"half")
        raise error

    monkeypatch.setattr("sonobalance.state.save_file", fail)
    with pytest.raises(InputError, match=said):
        save_state(path, {"step": 2, "w": torch.zeros(2)})
    assert_same(load_state(path), {"step": 1, "w": torch.ones(2)})
    assert [p.name for p in tmp_path.iterdir()] == ["s.safetensors"]


def test_an_error_that_is_not_the_systems_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(SafetensorError, match="a bug"), atomic_tensors(tmp_path / "s"):
        raise SafetensorError("a bug")
    assert list(tmp_path.iterdir()) == []


def test_what_json_cannot_hold_is_refused_before_writing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        save_state(tmp_path / "s", {"function": print})
    assert list(tmp_path.iterdir()) == []


def malformed(kind: str, path: Path) -> None:
    """Write a file that is wrong in one way."""
    save_state(path, {"w": torch.arange(100.0), "step": 3})
    whole = path.read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    header = json.loads(whole[8 : 8 + length])
    contents = {
        "empty": b"",
        "truncated": whole[:-10],
        "cut header": whole[: 8 + length // 2],
        "huge header": struct.pack("<Q", 2**62) + whole[8:],
        "text": b"these are not tensors",
        "pickle": pickle.dumps({"w": [1.0]}),
    }
    if kind in contents:
        path.write_bytes(contents[kind])
    elif kind == "foreign":
        save_file({"w": torch.ones(2)}, path)
    else:
        tree = header["__metadata__"]["sonobalance.tree"]
        changed = {
            "no json": "{", "no tree": "[1, 2]", "unknown node": '{"code": "print(1)"}',
            "missing tensor": tree.replace('"w"}', '"gone"}'), "no dict": '{"value": 3}',
            "odd items": '{"dict": [1]}', "list of text": '{"list": "ab"}',
        }[kind]  # fmt: skip
        save_file({"w": torch.arange(100.0)}, path, metadata={"sonobalance.tree": changed})


@pytest.mark.parametrize(
    "kind",
    [
        "empty", "truncated", "cut header", "huge header", "text", "pickle", "foreign", "no json",
        "no tree", "unknown node", "missing tensor", "no dict", "odd items", "list of text",
    ],
)  # fmt: skip
def test_a_malformed_state_is_refused_in_one_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s.safetensors"
    malformed(kind, path)
    with pytest.raises(InputError, match=r"Expected .*s\.safetensors"):
        load_state(path)


def test_a_missing_state_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError):
            load_state(path)
