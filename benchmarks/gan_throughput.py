"""Speed of a full training iteration: against bare convolutions and against `lightweight-gan`.

    python benchmarks/gan_throughput.py --out docs/results/gan-throughput-cpu.json

An iteration is a step of every discriminator (with its lazy penalty at its share) and of G, with
drawing, augmentation and averaging, on images drawn at random. Two references in the same run:

- the bound: the iteration's FLOPs over the FLOP/s that bare convolutions reach. Every convolution,
  forward and backward, of one iteration is recorded and run again alone, with the same shapes, data
  type and memory layout; `fraction_of_bound` is the share of that speed that is reached;
- the package: one step of its networks in its own order at the same resolution and batch
  (`rival_batch`; its memory allows no larger one on a small machine). `ratio_to_lightweight_gan` is
  images per second of ours over its.

Steps with and without the penalty are measured apart and averaged at their share. Repetitions of
ours and of the bare convolutions are interleaved; medians with the least and the greatest value are
given. On the CPU, times are processor time of one thread, so that other work on the machine counts
little.
`--weights` adds the branch of frozen pretrained features.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightweight import PENALTY_INTERVAL, Rival
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.weights import load_backbone
from sonobalance.config import GanSettings
from sonobalance.data.loading import LabelledImages, to_unit
from sonobalance.environment import environment, peak_memory_mib
from sonobalance.files import write_json
from sonobalance.gan.features import FrozenFeatures
from sonobalance.gan.latents import encode_bank
from sonobalance.gan.steps import game_step, warmup_step
from sonobalance.gan.training import Counters, Training, start
from sonobalance.precision import arithmetic

IMAGES = 64
SETTLE, STEPS = 2, 4  # iterations before measuring, and in one measurement


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 128])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rival-batch", type=int, default=4)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--rival-repetitions", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--weights", type=Path, help="safetensors of mobilenetv2_100")
    parser.add_argument("--out", type=Path, default=Path("docs/results/gan-throughput-cpu.json"))
    return parser.parse_args()


class Recorder(TorchDispatchMode):
    """Notes every convolution and its backward pass, to run them again alone, and counts FLOPs.

    `FlopCounterMode` cannot look at the gradient penalty: its hooks refuse `autograd.grad`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...]]] = []
        self.flops = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (
            torch.ops.aten.convolution.default,
            torch.ops.aten.convolution_backward.default,
        ):
            self.calls.append((func, tuple(args)))
        out = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func.overloadpacket):
            self.flops += count(*args, **(kwargs or {}), out_val=out)
        return out

    @torch.no_grad()
    def replay(self) -> Callable[[], None]:
        """A function that runs all of them, on tensors of its own."""
        own = [
            (func, [torch.empty_like(x).normal_() if isinstance(x, torch.Tensor) else x
                    for x in args])
            for func, args in self.calls
        ]  # fmt: skip

        def run() -> None:
            with torch.no_grad():
                for func, args in own:
                    func(*args)

        return run


def recorded(run: Callable[[], None]) -> Recorder:
    with Recorder() as recorder:
        run()
    return recorder


@dataclass(frozen=True)
class Lazy:
    """A step with its lazy penalty and one without; one in `interval` has it."""

    penalised: Callable[[], None]
    plain: Callable[[], None]
    interval: int

    @classmethod
    def of(cls, step: Callable[[], None], counter: Counters | Rival, interval: int) -> Lazy:
        """Of a step that is penalised where its counter is a multiple of `interval`."""

        def at(count: int) -> Callable[[], None]:
            def run() -> None:
                counter.steps = count
                step()

            return run

        return cls(at(interval), at(interval + 1), interval)

    def mean(self, measure: Callable[[Callable[[], None]], float]) -> float:
        """Mean of a measure over the steps, each kind at its share."""
        plain = measure(self.plain)
        return plain + (measure(self.penalised) - plain) / self.interval


def training(size: int, batch: int, given: argparse.Namespace) -> Training:
    """A fresh training on random images, at the start of the game."""
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (IMAGES, 1, size, size), generator=random).to(torch.uint8)
    ids = tuple(f"image-{i}" for i in range(IMAGES))
    images = LabelledImages(pixels, torch.arange(IMAGES) % 3, ids, ("a", "b", "c"))
    settings = GanSettings(image_size_px=size, batch_size=batch, held_back=0.0)
    device, eyes = torch.device(given.device), None
    if given.weights:
        model = AttentiveClassifier("mobilenetv2_100", 1, image_size_px=size)
        load_backbone(model, given.weights)
        eyes = FrozenFeatures("mobilenetv2_100", size, model.backbone)
    t = start(images, ids, settings, seed=0, device=device, eyes=eyes)
    filled = to_unit(t.train.pixels)
    t.bank = encode_bank(t.encoder, filled, t.train.targets, t.train.frames, device)
    return t


def stepper(t: Training, step: Callable[[Training], Any] = game_step) -> Callable[[], None]:
    def run() -> None:
        with arithmetic(t.settings.precision, t.train.pixels.device):
            step(t)

    return run


def seconds(run: Callable[[], None], times: int, device: str) -> float:
    """Mean time of one call; processor time on the CPU."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    _finish(device)
    began = clock()
    for _ in range(times):
        run()
    _finish(device)
    return (clock() - began) / times


def _finish(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def flops_of(run: Callable[[], None]) -> float:
    return recorded(run).flops


def memory_of(networks: str, size: int, given: argparse.Namespace) -> float:
    """Peak memory in MiB of a few steps of one GAN, in a fresh process that does nothing else."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(peak_mib, (networks, size, given))


def peak_mib(networks: str, size: int, given: argparse.Namespace) -> float:
    """Highest memory of this process: of all it holds on the CPU, of tensors on the GPU."""
    torch.set_num_threads(1)
    device = torch.device(given.device)
    if networks == "ours":
        steps = ours_of(training(size, given.batch, given))
    else:
        steps = theirs_of(Rival(size, given.rival_batch, 0, device), size, given)
    for _ in range(SETTLE):
        steps.penalised()
    if given.device != "cpu":
        return float(torch.cuda.max_memory_allocated() / 2**20)
    return peak_memory_mib()


def ours_of(t: Training) -> Lazy:
    """The steps of our game."""
    return Lazy.of(stepper(t), t.counters, t.settings.r1_interval)


def theirs_of(rival: Rival, size: int, given: argparse.Namespace) -> Lazy:
    """The steps of the package on random images."""
    real = torch.rand(given.rival_batch, 1, size, size, device=given.device)
    return Lazy.of(lambda: rival.step(real), rival, PENALTY_INTERVAL)


def speed(times: list[float], images: int) -> dict[str, float]:
    """Images per second: median, least, greatest."""
    rates = images / np.array(times)
    return {
        "median": round(float(np.median(rates)), 2),
        "least": round(float(rates.min()), 2),
        "greatest": round(float(rates.max()), 2),
    }


def measure(size: int, given: argparse.Namespace) -> dict[str, Any]:
    """One resolution."""
    device, batch, small = given.device, given.batch, given.rival_batch
    t, same = training(size, batch, given), training(size, small, given)
    rival, every = Rival(size, small, 0, torch.device(device)), t.settings.r1_interval
    ours, ours_small, theirs = ours_of(t), ours_of(same), theirs_of(rival, size, given)
    warm = stepper(t, warmup_step)
    memory = {name: memory_of(name, size, given) for name in ("ours", "lightweight_gan")}
    flops = ours.mean(flops_of)
    penalised, plain = recorded(ours.penalised), recorded(ours.plain)
    bare = Lazy(penalised.replay(), plain.replay(), every)
    bare_flops = bare.mean(flops_of)
    for kinds in (ours, ours_small, bare):
        kinds.mean(lambda run: seconds(run, SETTLE, device))
    seconds(warm, SETTLE, device)
    times: dict[str, list[float]] = {k: [] for k in ("ours", "small", "warm", "bare", "rival")}
    for _ in range(given.repetitions):
        for key, kinds in (("ours", ours), ("bare", bare), ("small", ours_small)):
            times[key].append(kinds.mean(lambda run: seconds(run, STEPS, device)))
        times["warm"].append(seconds(warm, STEPS, device))
    for _ in range(given.rival_repetitions):
        times["rival"].append(theirs.mean(lambda run: seconds(run, 1, device)))
    median = {key: float(np.median(value)) for key, value in times.items()}
    reached, bound = flops / median["ours"], bare_flops / median["bare"]
    networks = {"G": t.generator, "encoder": t.encoder, **t.discriminators}
    return {
        "fraction_of_bound": round(reached / bound, 3),
        "ratio_to_lightweight_gan": round(median["rival"] / median["small"], 1),
        "images_per_second": speed(times["ours"], batch),
        "images_per_second_warm_up": speed(times["warm"], batch),
        "images_per_second_rival_batch": speed(times["small"], small),
        "images_per_second_lightweight_gan": speed(times["rival"], small),
        "gflops_per_image": round(flops / batch / 1e9, 3),
        "gflops_per_second": {"reached": round(reached / 1e9, 1), "bound": round(bound / 1e9, 1)},
        "convolutions_recorded": {"penalised": len(penalised.calls), "plain": len(plain.calls)},
        "parameters": {k: sum(p.numel() for p in n.parameters()) for k, n in networks.items()},
        "parameters_lightweight_gan": {
            k: sum(p.numel() for p in n.parameters())
            for k, n in (("G", rival.gan.G), ("D", rival.gan.D))
        },
        "peak_memory_mib": {key: round(value) for key, value in memory.items()},
    }


def main() -> None:
    given = arguments()
    torch.set_num_threads(1)
    result: dict[str, Any] = {
        "command": "python benchmarks/gan_throughput.py " + " ".join(sys.argv[1:]),
        "device": given.device, "batch": given.batch,
        "rival_batch": given.rival_batch, "repetitions": given.repetitions,
        "feature_branch": given.weights.name if given.weights else None,
        "threads": 1, "environment": environment(),
    }  # fmt: skip
    for size in given.sizes:
        result[str(size)] = measure(size, given)
        write_json(given.out, result)


if __name__ == "__main__":
    main()
