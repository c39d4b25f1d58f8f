"""What explanations cost: maps per second, their price in forward passes, memory of the costly one.

python benchmarks/explanation_cost.py docs/results/explanation-cost.json

Processor time of one thread, never wall time; a map's price is its time over that of a forward pass
of the same batch, both measured in turn, and the median of the ratios counts. The network has
random weights, which cost as much as learned ones; images are noise. About two minutes on an idle
core.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.environment import environment
from sonobalance.explanation.attributions import heavy_map, integrated_gradients
from sonobalance.explanation.cam import Evidence, evidence_of, explaining
from sonobalance.explanation.inputs import Inputs
from sonobalance.explanation.layers import layer_of
from sonobalance.explanation.maps import (
    CAMS,
    ENERGY,
    EXACT,
    FINE,
    Cost,
    cheap_maps,
    exact_evidence,
    fine_hirescam,
    gradient_energy,
)
from sonobalance.files import write_json

CLASSES, PASS, POINTS = 3, 16, 24
BATCHES = (1, 4, 16)
REPEATS = {"cheap": 5, "costly": 2}
LARGEST = {"integrated-gradients": 4, "occlusion": 4}
MEMORY_BATCHES = (4, 16, 64)
Ask = Callable[[torch.Tensor, torch.Tensor], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--backbone", default="mobilenetv2_100")
    parser.add_argument("--side", type=int, default=160)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    plain = AttentiveClassifier(given.backbone, CLASSES, "both", given.side).eval()
    lesion = AttentiveClassifier(
        given.backbone, CLASSES, "both", given.side, lesion_attention=True
    ).eval()
    found = {"maps": prices(plain, lesion, given.side), "memory": memory(plain, given.side)}
    write_json(given.out, {
        "command": "python benchmarks/explanation_cost.py OUT", "backbone": given.backbone,
        "image_size_px": given.side, "threads": 1, "gradient_points": POINTS,
        "images_per_pass": PASS, "unit": "processor seconds", **found,
        "environment": environment(),
    })  # fmt: skip
    print(given.out)


def prices(plain: AttentiveClassifier, lesion: AttentiveClassifier, side: int) -> dict[str, Any]:
    """Map → batch size → maps per second, and price in forward passes of the same network."""
    out: dict[str, Any] = {}
    for name, (model, ask) in maps_to_ask(plain, lesion).items():
        for size in (b for b in BATCHES if b <= LARGEST.get(name, max(BATCHES))):
            images, targets = torch.rand(size, 1, side, side) * 2 - 1, torch.arange(size) % CLASSES
            repeats = REPEATS["costly" if name in LARGEST else "cheap"]
            with explaining(model):
                cost = compared(partial(forward, model), ask, images, targets, repeats)
            out.setdefault(name, {})[str(size)] = cost
            print(f"{name:22s} batch {size:2d}  {cost['maps_per_second']:8.2f} maps/s  "
                  f"{cost['forward_passes']:7.2f} forward passes", flush=True)  # fmt: skip
    return out


def maps_to_ask(
    plain: AttentiveClassifier, lesion: AttentiveClassifier
) -> dict[str, tuple[nn.Module, Ask]]:
    """Name → the network, and a function that makes this map alone."""
    layer, cost = layer_of(plain.target_layer), Cost(PASS, POINTS)

    def alone(cam: Callable[[Evidence], torch.Tensor]) -> Ask:
        return lambda x, k: cam(evidence_of(plain, layer, x, k))

    asks: dict[str, tuple[nn.Module, Ask]] = {
        name: (plain, alone(cam)) for name, cam in CAMS.items()
    }
    asks[FINE] = plain, partial(fine_hirescam, plain)
    asks[ENERGY] = plain, squares(partial(gradient_energy, plain))
    asks[EXACT] = lesion, partial(exact_evidence, lesion)
    asks["all maps of one pass"] = plain, squares(partial(cheap_maps, plain, layer, cost=cost))
    for name in LARGEST:
        asks[name] = plain, squares(partial(heavy_map, name, plain, cost=cost))
    return asks


def squares(ask: Callable[[Inputs], Any]) -> Ask:
    """The same question about images that fill their squares."""
    return lambda images, targets: ask(Inputs.of_squares(images, targets))


@torch.no_grad()
def forward(model: nn.Module, images: torch.Tensor, _targets: torch.Tensor) -> torch.Tensor:
    return model(images)


def compared(
    forward: Ask, ask: Ask, images: torch.Tensor, targets: torch.Tensor, repeats: int
) -> dict[str, float]:
    """Both in turn, so that a busy machine slows both; the first turn warms up."""
    seconds, ratios = [], []
    for turn in range(repeats + 1):
        base, own = (spent(f, images, targets) for f in (forward, ask))
        if turn:
            seconds.append(own)
            ratios.append(own / base)
    return {
        "maps_per_second": len(images) / statistics.median(seconds),
        "forward_passes": statistics.median(ratios),
    }


def spent(ask: Ask, images: torch.Tensor, targets: torch.Tensor) -> float:
    start = time.process_time()
    ask(images, targets)
    return time.process_time() - start


def memory(model: nn.Module, side: int) -> dict[str, Any]:
    """Bytes kept for the backward pass of integrated gradients: the most that any pass holds."""
    out = {}
    for size in MEMORY_BATCHES:
        images, targets = torch.rand(size, 1, side, side), torch.arange(size) % CLASSES
        held = Held(model)
        with torch.autograd.graph.saved_tensors_hooks(held.keep, lambda tensor: tensor):
            integrated_gradients(held, Inputs.of_squares(images, targets), Cost(PASS, 4))
        out[str(size)] = {"mib_per_pass": held.most / 2**20, "images_per_pass": held.largest}
        print(f"integrated gradients of {size} images: {out[str(size)]}", flush=True)
    return {"integrated-gradients": out}


class Held(nn.Module):
    """Counts the bytes that each forward pass leaves for its backward pass."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.now, self.most, self.largest = model, 0, 0, 0

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        """Note a tensor that the backward pass will need."""
        self.now += tensor.numel() * tensor.element_size()
        self.most = max(self.most, self.now)
        return tensor

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The model's logits; a new pass starts with nothing held."""
        self.now, self.largest = 0, max(self.largest, len(images))
        return self.model(images)


if __name__ == "__main__":
    main()
