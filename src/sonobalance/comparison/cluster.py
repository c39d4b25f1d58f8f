"""Units on a Ray cluster: any machine that sees the benchmark's folder can do any unit.

A unit is idempotent: its results lie in its own folder, which its process locks, and a unit that
was cut off goes on from its checkpoints. So a task whose worker dies is simply given to another.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from sonobalance.comparison.external import External
from sonobalance.comparison.units import Unit
from sonobalance.comparison.work import perform
from sonobalance.errors import InputError, SettingsError, SonobalanceError

LOST_WORKERS = 20
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}  # no telemetry


def perform_on_cluster(
    units: Sequence[Unit], external: External | None = None, *, cpus_per_unit: int = 1
) -> Iterator[Unit]:
    """Do prepared units as they become ready, yielding each when it is finished.

    Joins the cluster in `RAY_ADDRESS` (as `ray start` and Slurm launchers set it), or starts one
    on this machine. An arm waits for the GAN it builds on.

    Args:
        units: prepared; GANs before their arms.
        external: see `perform`.
        cpus_per_unit: cores that one unit is given; where the cluster has GPUs it gets one, too.

    Raises:
        SettingsError: no node has so many cores.
        InputError: ray is not installed, a unit found its input unusable, or its workers were lost.
    """
    ray = _joined_cluster()
    wants_gpu = ray.cluster_resources().get("GPU") and units and units[0].settings.device != "cpu"
    _check_nodes(ray, cpus_per_unit)
    task = ray.remote(
        num_cpus=cpus_per_unit, num_gpus=1 if wants_gpu else 0, max_retries=LOST_WORKERS
    )(perform_unit)
    waiting: dict[Any, Unit] = {}
    made: dict[Path, Any] = {}
    for unit in units:
        needed = made.get(unit.gan.folder) if unit.gan else None
        reference = task.remote(str(unit.folder), unit.arm, external, cpus_per_unit, needed)
        made[unit.folder] = reference
        waiting[reference] = unit
    while waiting:
        (ready, *_), _ = ray.wait(list(waiting))
        try:
            ray.get(ready)
        except ray.exceptions.RayError as error:
            raise _sentence(error, waiting[ready]) from None
        yield waiting.pop(ready)


def _check_nodes(ray: Any, cpus_per_unit: int) -> None:
    """Ray would wait forever for a node that has as many cores as are asked for."""
    most = max(
        (node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0
    )
    if cpus_per_unit > most:
        raise SettingsError(
            f"Expected --unit-cpus of at most {most:g}, the cores of the largest node that has "
            f"joined the cluster, but got {cpus_per_unit}; lower it."
        )


def perform_unit(
    folder: str, arm: str | None, external: External | None, threads: int, _after: object
) -> str:
    """What a worker does; `_after` is the GAN's result, which only has to be there."""
    torch.set_num_threads(threads)
    return perform(Path(folder), arm, external)


def _joined_cluster() -> Any:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray  # noqa: PLC0415 - an extra
    except ImportError:
        raise InputError(
            "Expected ray for `--executor ray`, but it is not installed; "
            "install sonobalance[ray] on every machine of the cluster."
        ) from None
    if not ray.is_initialized():
        address = os.environ.get("RAY_ADDRESS")
        ray.init(address=address, log_to_driver=False, include_dashboard=None if address else False)
    return ray


def _sentence(error: Any, unit: Unit) -> Exception:
    """Our own error as raised on the worker, a bug of ours or a lost worker as ray tells it."""
    if hasattr(error, "cause"):  # of what the task itself raised
        return error.cause if isinstance(error.cause, SonobalanceError) else error
    return InputError(
        f"Expected the cluster to finish {unit.title}, but ray gave up ({type(error).__name__}: "
        "was a worker killed, or short of memory?); repeat the command, which goes on where it "
        "stopped, with more --unit-cpus."
    )
