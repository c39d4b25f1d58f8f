"""What a phantom set will contain, decided before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sonobalance.data.phantoms.generator import KINDS
from sonobalance.randomness import numpy_generator

SHARES = {"benign": 0.56, "malignant": 0.27, "normal": 0.17}
IMAGES_PER_COPY = 60
CALIPERS_SHARE = 0.2
TEXT_SHARE = 0.12


@dataclass(frozen=True)
class Item:
    """One image of the set.

    Attributes:
        kind: the class that is drawn.
        label: the class that the image is filed under; another one for the label conflict.
        patient: true patient key.
        view: index of the view of this patient.
        number: number in the file name, from 1 in each class.
        mark: `calipers`, `text`, or empty.
        source: path of the original when this image is a near-duplicate, else empty.
        copy_kind: how the near-duplicate differs (a key of `copies.COPIES`).
        indexed_patient: patient key written to the index; copies have one of their own.
    """

    kind: str
    label: str
    patient: str
    view: int
    number: int = 0
    mark: str = ""
    source: str = ""
    copy_kind: str = ""
    indexed_patient: str = ""

    @property
    def path(self) -> str:
        """POSIX path of the image below the set's folder."""
        return f"{self.label}/{self.label} ({self.number}).png"

    @property
    def mask_path(self) -> str:
        """POSIX path of the lesion mask below the set's folder."""
        return f"{self.label}/{self.label} ({self.number})_mask.png"


def draw_plan(images: int, seed: int) -> list[Item]:
    """Every image of a set: class counts as in BUSI, patients of 1 to 3 views, copies, marks."""
    rng = numpy_generator(seed, "plan")
    counts = class_counts(images)
    wanted = wanted_copies(images)
    numbers = {kind: iter(rng.permutation(counts[kind]) + 1) for kind in KINDS}
    originals: list[Item] = []
    for kind in KINDS:
        filed = sum(label == kind for _, _, label in wanted)
        originals += draw_patients(kind, counts[kind] - filed, rng)
    originals = name_patients(originals, rng)
    originals = [replace(i, number=int(next(numbers[i.label]))) for i in originals]
    copies = draw_copies(originals, wanted, rng)
    copies = [replace(i, number=int(next(numbers[i.label]))) for i in copies]
    untouched = {i.path for i in originals} - {i.source for i in copies}
    return mark_some(originals, untouched, rng) + copies


def class_counts(images: int) -> dict[str, int]:
    """Images per class, by largest remainders, so that they add up to `images`."""
    exact = {kind: share * images for kind, share in SHARES.items()}
    counts = {kind: int(value) for kind, value in exact.items()}
    by_remainder = sorted(exact, key=lambda kind: counts[kind] - exact[kind])
    for kind in by_remainder[: images - sum(counts.values())]:
        counts[kind] += 1
    return counts


def wanted_copies(images: int) -> list[tuple[str, str, str]]:
    """(how it differs, class drawn, class filed under) of every near-duplicate; one conflict."""
    wanted = [("brightness", "benign", "malignant")]
    for i in range(max(1, images // IMAGES_PER_COPY)):
        for offset, how in enumerate(("crop", "brightness", "flip")):
            kind = KINDS[(i + offset) % 3]
            wanted.append((how, kind, kind))
        wanted.append(("calipers", KINDS[i % 2], KINDS[i % 2]))
    return wanted


def draw_patients(kind: str, images: int, rng: np.random.Generator) -> list[Item]:
    """Views of as many patients as it takes, 1 to 3 views each; keys are unique in the class."""
    items: list[Item] = []
    patient = 0
    while len(items) < images:
        views = min(int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15])), images - len(items))
        items += [Item(kind, kind, f"{kind}{patient}", i) for i in range(views)]
        patient += 1
    return items


def name_patients(items: list[Item], rng: np.random.Generator) -> list[Item]:
    """Give every patient a neutral key, in an order that says nothing about the class."""
    old = sorted({i.patient for i in items})
    shuffled = rng.permutation(len(old))
    new = {key: f"P{shuffled[i] + 1:04d}" for i, key in enumerate(old)}
    return [replace(i, patient=new[i.patient], indexed_patient=new[i.patient]) for i in items]


def draw_copies(
    originals: list[Item], wanted: list[tuple[str, str, str]], rng: np.random.Generator
) -> list[Item]:
    """Near-duplicates of distinct originals."""
    pools = {
        kind: list(rng.permutation([n for n, i in enumerate(originals) if i.kind == kind]))
        for kind in KINDS
    }
    copies = []
    for n, (how, kind, label) in enumerate(wanted, start=1):
        source = originals[pools[kind].pop()]
        copies.append(
            replace(
                source, label=label, number=0, source=source.path, copy_kind=how,
                indexed_patient=f"Q{n:04d}",
            )
        )  # fmt: skip
    return copies


def mark_some(items: list[Item], allowed: set[str], rng: np.random.Generator) -> list[Item]:
    """Burn calipers or text into some images among the allowed paths."""
    drawn = rng.random(len(items))
    out = []
    for item, chance in zip(items, drawn, strict=True):
        calipers = CALIPERS_SHARE if item.kind != "normal" else 0.0
        if item.path in allowed and chance < calipers + TEXT_SHARE:
            out.append(replace(item, mark="calipers" if chance < calipers else "text"))
        else:
            out.append(item)
    return out
