"""How the audit scales: time, memory and recall on sets of phantom images, and what a million cost.

    python benchmarks/audit_scale.py --out docs/results/audit_scale.json 1000 5000 20000

Each size runs in a process of its own, so that its peak memory is its own. A simulated frame takes
much longer than its audit, so a set is made from a few hundred phantoms cut, stretched and given
fresh speckle at random (different images, as far as the search can tell) and a known share of
planted copies: cropped, mirrored, brightened, saved as JPEG.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sonobalance.config import AuditSettings, DataSettings
from sonobalance.data.audit import audit
from sonobalance.data.images import write_png
from sonobalance.data.phantoms import KINDS, phantom
from sonobalance.data.sources import index_folder
from sonobalance.files import write_json
from sonobalance.progress import track
from sonobalance.randomness import numpy_generator

SIDE_PX = 256
SEEDS = 240
COPIES = 0.1
MILLION = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("sizes", type=int, nargs="*", default=[1000, 5000, 20000])
    parser.add_argument("--out", type=Path, default=None, help="JSON file with the results")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=None, help="measure this set only")
    given = parser.parse_args()
    if given.folder:
        sys.stdout.write(json.dumps(measure(given.folder, given.workers)))
        return
    rows = [measured(size, given.workers) for size in given.sizes]
    result = {"rows": rows, **law(rows)}
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    if given.out:
        write_json(given.out, result)


def measured(size: int, workers: int) -> dict[str, float]:
    """Make a set and audit it in a fresh process."""
    with tempfile.TemporaryDirectory() as temporary:
        make(Path(temporary), size)
        command = [sys.executable, __file__, "--folder", temporary, "--workers", str(workers)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def measure(folder: Path, workers: int) -> dict[str, float]:
    """Audit a set: seconds, processor seconds, peak memory, recall of copies, strangers joined."""
    manifest, _ = index_folder(folder, DataSettings())
    wall, cpu = time.perf_counter(), time.process_time()
    found = audit(manifest, AuditSettings(workers=workers, exhaustive_up_to=0))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    planted = {frozenset(pair) for pair in json.loads((folder / "copies.json").read_text())}
    path = {r.id: r.path for r in manifest}
    pairs = {frozenset((path[p.a], path[p.b])) for p in found.pairs}
    return {
        "images": len(manifest),
        "seconds": round(wall, 1),
        "cpu_seconds": round(cpu, 1),
        "ms_per_image": round(1000 * wall / len(manifest), 2),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "planted": len(planted),
        "recall": round(len(planted & pairs) / max(1, len(planted)), 4),
        "strangers_joined": len([pair for pair in pairs if len({seed_of(p) for p in pair}) > 1]),
    }


def seed_of(path: str) -> str:
    """The phantom that an image was bent from."""
    return Path(path).name.split("-")[0]


def law(rows: list[dict[str, float]]) -> dict[str, float]:
    """Time per image as a + b·n through the last two sizes, and what a million would take."""
    if len(rows) < 2:
        return {}
    before, last = rows[-2:]
    n, m, t, u = before["images"], last["images"], before["ms_per_image"], last["ms_per_image"]
    slope = max(0.0, (u - t) / (m - n))
    cpu = (last["cpu_seconds"] / m) / (before["cpu_seconds"] / n)
    return {
        "growth_of_time_per_image": round(u / t, 3),
        "growth_of_processor_time_per_image": round(cpu, 3),
        "million_hours": round((u + slope * (MILLION - m)) * MILLION / 3.6e6, 1),
        "million_gib": round(last["peak_gib"] / m * MILLION, 1),
    }


def make(folder: Path, size: int) -> None:
    """Write `size` images in class folders, and `copies.json` with the planted pairs."""
    seeds = [
        phantom(KINDS[k % len(KINDS)], numpy_generator(0, "seed", k), SIDE_PX)[0]
        for k in range(SEEDS)
    ]
    originals = round(size / (1 + COPIES))
    pairs: list[tuple[str, str]] = []
    for k in track(range(size), f"{size} images", size):
        rng = numpy_generator(0, "scale", k)
        if k < originals:
            image, path = different(seeds[k % SEEDS], rng), name(k)
        else:
            source = int(rng.integers(originals))
            original = different(seeds[source % SEEDS], numpy_generator(0, "scale", source))
            image, path = copied(original, k, rng), name(source, k)
            pairs.append((name(source), path))
        write_png(folder / path, image)
    write_json(folder / "copies.json", pairs)


def name(k: int, copy: int | None = None) -> str:
    """Path of original `k` or of a copy of it, which tells the phantom it was bent from."""
    seed = k % SEEDS
    return f"{KINDS[seed % len(KINDS)]}/{seed}-{k if copy is None else copy}.png"


def different(seed: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Another image: the tissue bent by a smooth random field, under fresh speckle."""
    height, width = seed.shape
    bend = [cv2.GaussianBlur(rng.normal(size=seed.shape), (0, 0), 12) * 12 * 30 for _ in "xy"]
    y, x = np.mgrid[:height, :width]
    image = cv2.remap(
        seed, (x + bend[0]).astype(np.float32), (y + bend[1]).astype(np.float32),
        cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT,
    )  # fmt: skip
    speckle = cv2.GaussianBlur(rng.normal(size=seed.shape), (0, 0), 1.6, sigmaY=0.8)
    return np.clip(image * (1 + 0.8 * speckle), 0, 255).astype(np.uint8)


def copied(image: NDArray[np.uint8], k: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A planted near-duplicate."""
    height, width = image.shape
    if k % 4 == 0:
        top, left = rng.integers(0, height // 8), rng.integers(0, width // 8)
        return image[top : top + round(0.85 * height), left : left + round(0.85 * width)]
    if k % 4 == 1:
        return np.ascontiguousarray(image[:, ::-1])
    if k % 4 == 2:
        return np.clip(image * 0.8 + 25, 0, 255).astype(np.uint8)
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], 0)


if __name__ == "__main__":
    main()
