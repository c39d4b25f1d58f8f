"""Weights to start from: a backbone in timm's names, or a whole classifier of this package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.layers import resample_abs_pos_embed, resize_rel_pos_bias_table_simple
from torch import nn

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.places import page_file, weights_file
from sonobalance.config import ClassifierSettings
from sonobalance.errors import InputError, SettingsError
from sonobalance.files import read_json
from sonobalance.progress import console

_ENOUGH = 0.9


def check_start(settings: ClassifierSettings) -> None:
    """Find out before hours of work whether the training could start.

    Raises:
        InputError: a file of weights is missing, damaged or of another backbone.
        SettingsError: timm has no such backbone, no head can be fitted to it, or what a second one
            or a second look needs is not given.
    """
    if settings.zoom_on == "lesion" and not _outlines(settings):
        raise SettingsError(
            "Expected `classifier.zoom_test` above 1, `classifier.lesion_attention` and a network "
            "that learns outlines (no `classifier.frozen`) for `classifier.zoom_on=lesion`, which "
            "looks at the enlarged lesion; change these, or leave `zoom_on` at middle."
        )
    second = settings.second_backbone
    if settings.second_weights and not second:
        raise SettingsError(
            "Expected `classifier.second_backbone`, the model that `classifier.second_weights` are "
            "of, but got none; name it, or leave the weights out."
        )
    for given, name in ((settings.second_weights, "second_weights"),
                        (settings.weights or settings.init, "weights")):  # fmt: skip
        if second and not (given or settings.pretrained):
            raise SettingsError(
                f"Expected `classifier.{name}` beside the second backbone {second}, but got none; "
                "give a local file, or set `classifier.pretrained`."
            )
    pairs = (settings.backbone, settings.weights), (second, settings.second_weights)
    for backbone, weights in pairs:
        if backbone:
            model = AttentiveClassifier(
                backbone, 2, "none" if settings.frozen else settings.attention,
                settings.image_size_px, attention_stages=settings.attention_stages,
                attention_at=settings.attention_at,
            )  # fmt: skip
            _check_head(model, settings)
            if weights:
                load_backbone(model, weights)
            if backbone == settings.backbone:
                _check_others(model, settings)


def _outlines(settings: ClassifierSettings) -> bool:
    """Whether an enlarged look could follow an outline that the network has learnt."""
    learns = settings.init is not None or not settings.frozen
    return settings.zoom_test > 1 and settings.lesion_attention and learns


def _check_head(model: AttentiveClassifier, settings: ClassifierSettings) -> None:
    pretrained = settings.pretrained or settings.weights or settings.init
    if model.head is None and pretrained and settings.head_start == "probe":
        raise SettingsError(
            f"Expected a backbone that ends in a linear layer for `classifier.head_start=probe`, "
            f"but {model.name} does not; choose another backbone, or fine-tune it with "
            "`classifier.head_start=random`."
        )


def _check_others(model: AttentiveClassifier, settings: ClassifierSettings) -> None:
    for folder, name in ((settings.init, "init"), (settings.partner, "partner")):
        if folder is not None:
            load_classifier(model, folder, f"`classifier.{name}`")


def load_backbone(model: AttentiveClassifier, path: Path) -> None:
    """Copy the tensors of a safetensors file into the backbone; the head may be absent or differ.

    A transformer's position embedding of another image size is resampled.

    Raises:
        InputError: the file is missing, damaged, or does not fit the backbone; says how many
            tensors match.
    """
    given = _read(path)
    wanted = {
        name: value
        for name, value in model.backbone.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    head = _head_names(model.backbone)
    fitting = {
        name: fitted
        for name, value in wanted.items()
        if name in given and (fitted := _fit(name, given[name], value, model.backbone)) is not None
    }
    body = [name for name in wanted if name not in head]
    matching = sum(name in fitting for name in body)
    if matching < _ENOUGH * len(body):
        raise InputError(
            f"Expected {path} to hold the weights of {type(model.backbone).__name__} in timm's "
            f"names, but only {matching} of its {len(body)} tensors match in name and shape; set "
            "`classifier.backbone` (or `classifier.second_backbone`) to the model that it was "
            "saved from."
        )
    if left := [name for name in body if name not in fitting]:
        console.print(f"  {len(left)} tensors of {model.name} start at random: {left[0]}, ...")
    model.backbone.load_state_dict(fitting, strict=False)


def load_classifier(
    model: AttentiveClassifier, folder: Path, setting: str = "`classifier.init`"
) -> None:
    """Copy backbone, gates and lesion head of a trained classifier; the classes may differ.

    Layers that give logits stay as they are. Gates or a lesion head that only one of the two has
    are left alone.

    Args:
        model: changed in place.
        folder: as `train_classifier` wrote it.
        setting: what named it, for the message.

    Raises:
        InputError: a file is missing or damaged, or the classifier has another backbone.
    """
    given = _own_gates(model, folder, _read(weights_file(folder), setting))
    heads = {f"backbone.{name}" for name in _head_names(model.backbone)}
    heads.add("lesion.classify.weight")
    wanted = {name: value for name, value in model.state_dict().items() if name not in heads}
    fitting = {
        name: given[name]
        for name, value in wanted.items()
        if name in given and given[name].shape == value.shape
    }
    body = [name for name in wanted if name.startswith("backbone.")]
    matching = sum(name in fitting for name in body)
    if matching < len(body):
        raise InputError(
            f"Expected {setting} to be a classifier with the backbone {model.name} of these "
            f"settings, but only {matching} of {len(body)} tensors in {folder} match; set "
            "`classifier.backbone` to its own."
        )
    model.load_state_dict(fitting, strict=False)


def _own_gates(
    model: AttentiveClassifier, folder: Path, given: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Gates under the numbers that their stages have in `model`; those of other stages left out."""
    page = page_file(folder)
    theirs = read_json(page).get("gated_stages") if page.is_file() else None
    if theirs is None:
        return given
    ours = {stage: f"attention.{i}" for i, stage in enumerate(model.gated)}
    moved = {f"attention.{i}": ours.get(stage) for i, stage in enumerate(theirs)}
    found: dict[str, torch.Tensor] = {}
    for name, value in given.items():
        gate = ".".join(name.split(".")[:2])
        if gate not in moved:
            found[name] = value
        elif to := moved[gate]:
            found[to + name.removeprefix(gate)] = value
    return found


def has_lesion_head(folder: Path | None) -> bool:
    """Whether a trained classifier's folder holds a network with lesion attention."""
    return folder is not None and any(
        name.startswith("lesion.") for name in _read(weights_file(folder), "`classifier.init`")
    )


def _read(
    path: Path, setting: str = "`classifier.weights` (or `second_weights`)"
) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise InputError(f"Expected {setting} at {path}, but there is no such file; give its path.")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"Expected {setting} to be a safetensors file, but {path} is not ({error})."
        ) from None


def _head_names(backbone: nn.Module) -> set[str]:
    """Names of the classifier's tensors, which belong to the classes of another data set."""
    head: nn.Module = backbone.get_classifier()  # type: ignore[operator]
    own = {id(value) for value in head.parameters()} if isinstance(head, nn.Module) else set()
    return {name for name, value in backbone.named_parameters() if id(value) in own}


def _fit(
    name: str, given: torch.Tensor, wanted: torch.Tensor, backbone: nn.Module
) -> torch.Tensor | None:
    """The given tensor in the wanted shape, or None when it does not fit."""
    if given.shape == wanted.shape:
        return given
    resampled: torch.Tensor | None = None
    if name.endswith("pos_embed") and given.ndim == 3 and given.shape[2] == wanted.shape[2]:
        apart = getattr(backbone, "no_embed_class", False)  # prefix tokens without a position
        prefix = 0 if apart else int(getattr(backbone, "num_prefix_tokens", 1))
        side = round((wanted.shape[1] - prefix) ** 0.5)
        resampled = resample_abs_pos_embed(given, [side, side], num_prefix_tokens=prefix)
    elif name.endswith(".relative_position_bias_table") and given.shape[1:] == wanted.shape[1:]:
        window: Any = backbone.get_submodule(name.rpartition(".")[0]).window_size
        resampled = resize_rel_pos_bias_table_simple(given, window, tuple(wanted.shape))
    return resampled if resampled is not None and resampled.shape == wanted.shape else None
