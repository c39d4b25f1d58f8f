"""How the audit scales: time, memory and recall on sets of phantom images, and what a million cost.

    python benchmarks/audit_scale.py --out docs/results/audit-scale.json 1000 5000 20000

What is measured is all of `sonobalance audit`: index, audit, tables and page. Each size runs in a
process of its own, so that its peak memory is its own. A simulated frame takes much longer than its
audit, so a set is made from a few hundred phantoms bent at random under fresh speckle (different
images, as far as the search can tell) and a known share of planted copies: cropped, mirrored,
brightened, saved as JPEG.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from operator import itemgetter
from pathlib import Path

import cv2
import numpy as np
from finished import rows_of
from numpy.typing import NDArray

from sonobalance.config import AuditSettings, DataSettings
from sonobalance.data.audit import audit
from sonobalance.data.images import write_png
from sonobalance.data.phantoms import KINDS, phantom
from sonobalance.data.sources import index_folder
from sonobalance.environment import environment, peak_memory_mib
from sonobalance.files import read_json, write_json
from sonobalance.progress import track
from sonobalance.randomness import numpy_generator
from sonobalance.reporting.audit_page import write_audit

SIDE_PX = 256
SEEDS = 240
COPIES = 0.1
MILLION = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("sizes", type=int, nargs="*", default=[1000, 5000, 20000])
    parser.add_argument("--out", type=Path, required=True, help="JSON with the results; resumed")
    parser.add_argument("--work", type=Path, default=None, help="keep the sets here and reuse them")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=None, help="measure this set only")
    given = parser.parse_args()
    if given.folder:
        write_json(given.out, measure(given.folder, given.workers))
        return
    rows = rows_of(given.out, {"threads": given.workers})
    for size in sorted({*given.sizes} - {row["images"] for row in rows}):
        rows = sorted([*rows, measured(size, given.workers, given.work)], key=itemgetter("images"))
        write_json(given.out, document(rows, given.workers))
    sys.stdout.write(given.out.read_text())


def document(rows: list[dict[str, float]], workers: int) -> dict[str, object]:
    """What is written: how it was measured, the rows, and the law through the last two."""
    sizes = " ".join(f"{row['images']:.0f}" for row in rows)
    return {
        "command": "python benchmarks/audit_scale.py --out docs/results/audit-scale.json "
        f"--workers {workers} {sizes}",
        "data": f"phantoms of {SIDE_PX} px, {100 * COPIES:.0f} % planted copies, seed 0",
        "environment": environment(),
        "threads": workers,
        "settings": AuditSettings(workers=workers, exhaustive_up_to=0).model_dump(mode="json"),
        "rows": rows,
        **law(rows),
    }


def measured(size: int, workers: int, work: Path | None) -> dict[str, float]:
    """Make a set unless it is there, and audit it in a fresh process."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = (work or Path(temporary)) / str(size)
        if not (folder / "copies.json").is_file():
            make(folder, size)
        out = Path(temporary) / "row.json"
        command = [sys.executable, __file__, "--folder", folder, "--out", out]
        subprocess.run([*map(str, command), "--workers", str(workers)], check=True)
        return read_json(out)


def measure(folder: Path, workers: int) -> dict[str, float]:
    """Index and audit a set and write the page; the load says how many jobs shared the cores."""
    wall, cpu = time.perf_counter(), time.process_time()
    manifest, _ = index_folder(folder, DataSettings())
    settings = AuditSettings(workers=workers, exhaustive_up_to=0)
    found = audit(manifest, settings)
    with tempfile.TemporaryDirectory() as temporary:
        write_audit(found, manifest, settings, Path(temporary))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    planted = {frozenset(pair) for pair in read_json(folder / "copies.json")}
    path = {r.id: r.path for r in manifest}
    pairs = {frozenset((path[p.a], path[p.b])) for p in found.pairs}
    n = len(manifest)
    return {
        "images": n,
        "wall_seconds": round(wall, 1),
        "processor_seconds": round(cpu, 1),
        "wall_ms_per_image": round(1000 * wall / n, 2),
        "processor_ms_per_image": round(1000 * cpu / n, 2),
        "load_of_the_machine": round(os.getloadavg()[1], 1),
        "peak_gib": round(peak_memory_mib() / 1024, 2),
        "planted": len(planted),
        "recall": round(len(planted & pairs) / max(1, len(planted)), 4),
        "strangers_joined": len([pair for pair in pairs if len({seed_of(p) for p in pair}) > 1]),
    }


def seed_of(path: str) -> str:
    """The phantom that an image was bent from."""
    return Path(path).name.split("-")[0]


def law(rows: list[dict[str, float]]) -> dict[str, float]:
    """Time per image as a + b·n through the last two sizes, and what a million would take.

    Processor time, because other jobs stretch wall time; two idle cores need half of it.
    """
    if len(rows) < 2:
        return {}
    before, last = rows[-2:]
    n, m = before["images"], last["images"]
    t, u = before["processor_ms_per_image"], last["processor_ms_per_image"]
    slope = max(0.0, (u - t) / (m - n))
    gib = max(0.0, (last["peak_gib"] - before["peak_gib"]) / (m - n))
    return {
        "growth_of_processor_time_per_image": round(u / t, 3),
        "growth_of_wall_time_per_image": round(
            last["wall_ms_per_image"] / before["wall_ms_per_image"], 3
        ),
        "million_processor_hours": round((u + slope * (MILLION - m)) * MILLION / 3.6e6, 1),
        "million_gib": round(last["peak_gib"] + gib * (MILLION - m), 1),
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
    coarse = [rng.normal(0, 8, (height // 32, width // 32)).astype(np.float32) for _ in "xy"]
    bend = [cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) for field in coarse]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    image = cv2.remap(
        seed, x + bend[0], y + bend[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    noise = rng.standard_normal(seed.shape, np.float32)
    speckle = cv2.GaussianBlur(noise, (0, 0), 1.6, sigmaY=0.8)
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
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    return np.asarray(cv2.imdecode(jpeg, 0), np.uint8)


if __name__ == "__main__":
    main()
