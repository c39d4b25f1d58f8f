"""Gates in a file: tensors and numbers only, so that they travel with the generator."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from sonobalance.classify.probe import Probe
from sonobalance.errors import InputError
from sonobalance.state import load_state, save_state
from sonobalance.synthesis.gate_models import FeatureFunction, GateModels
from sonobalance.synthesis.gates import ClassMatch, Realism, Threshold, Typicality
from sonobalance.synthesis.novelty import Diversity, Novelty

FORMAT = "sonobalance-gates-1"


def save_gates(path: Path, gates: GateModels, realism: Realism) -> None:
    """Write the gates atomically, with the realism gate of the generator beside them.

    What the file reveals of the TRAIN images: their ids, standardised features, and band-passed
    32 x 32 maps in which outlines can be recognised, though no grey values.
    """
    typicality, novelty = gates.typicality, gates.novelty
    save_state(path, {
        "format": FORMAT,
        "ids": list(gates.ids),
        "classes": list(gates.classes),
        "mean": _tensor(gates.mean),
        "spread": _tensor(gates.spread),
        "folds": _tensor(gates.folds),
        "probes": [
            {"weight": _tensor(p.weight), "bias": _tensor(p.bias), "c": p.c} for p in gates.probes
        ],
        "class_match": {
            "thresholds": [asdict(t) for t in gates.class_match.thresholds],
            "hard": list(gates.class_match.hard),
        },
        "typicality": {
            "features": _tensor(typicality.features),
            "targets": _tensor(typicality.targets),
            "distances": _tensor(typicality.distances),
            "slack": typicality.slack,
            "threshold": asdict(typicality.threshold),
        },
        "novelty": {
            "maps": novelty.maps,
            "real": _tensor(novelty.real),
            "false_copies": novelty.false_copies,
            "caught": novelty.caught,
            "threshold": asdict(novelty.threshold),
        },
        "realism": {
            "log_r1": _tensor(realism.log_r1),
            "log_r2": _tensor(realism.log_r2),
            "targets": _tensor(realism.targets),
            "threshold": asdict(realism.threshold),
        },
    })  # fmt: skip


def load_gates(
    path: Path, extract: FeatureFunction, device: torch.device | str = "cpu"
) -> tuple[GateModels, Realism]:
    """Read what `save_gates` wrote.

    Args:
        path: the file.
        extract: the features that the gates were calibrated with.
        device: where likeness is computed.

    Raises:
        InputError: the file is missing, damaged or of another format.
    """
    tree = load_state(path)
    if tree.get("format") != FORMAT:
        raise InputError(f"Expected {path} to hold gates of the format {FORMAT}; make it anew.")
    try:
        return _gates(tree, extract, device), _realism(tree["realism"])
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"Expected {path} to hold every gate, but it is damaged.") from None


def _gates(
    tree: dict[str, Any], extract: FeatureFunction, device: torch.device | str
) -> GateModels:
    match, typicality, novelty = tree["class_match"], tree["typicality"], tree["novelty"]
    closes = Threshold(**novelty["threshold"])
    return GateModels(
        tuple(tree["ids"]), tuple(tree["classes"]), extract, _array(tree["mean"]),
        _array(tree["spread"]), _array(tree["folds"]),
        tuple(Probe(_array(p["weight"]), _array(p["bias"]), p["c"]) for p in tree["probes"]),
        ClassMatch(tuple(Threshold(**t) for t in match["thresholds"]), tuple(match["hard"])),
        Typicality(
            _array(typicality["features"]), _array(typicality["targets"]),
            _array(typicality["distances"]), typicality["slack"],
            Threshold(**typicality["threshold"]),
        ),
        Novelty(
            novelty["maps"], _array(novelty["real"]), novelty["false_copies"], novelty["caught"],
            closes, device,
        ),
        Diversity(closes, device),
    )  # fmt: skip


def _realism(tree: dict[str, Any]) -> Realism:
    return Realism(
        _array(tree["log_r1"]), _array(tree["log_r2"]), _array(tree["targets"]),
        Threshold(**tree["threshold"]),
    )  # fmt: skip


def _tensor(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(values.copy())


def _array(values: Tensor) -> NDArray[Any]:
    out: NDArray[Any] = values.numpy()
    return out
