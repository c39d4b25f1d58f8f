"""The rounds of the loop: advance the generator, draw, gate, accept a share, judge."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from sonobalance.config import SynthesisSettings
from sonobalance.data.images import read_gray, write_png
from sonobalance.data.loading import LabelledImages
from sonobalance.gan.snapshot import hash_images
from sonobalance.randomness import derive
from sonobalance.synthesis.fidelity import density_coverage
from sonobalance.synthesis.gates import Realism
from sonobalance.synthesis.generator import ImageGenerator
from sonobalance.synthesis.inner import Additions
from sonobalance.synthesis.ledger import (
    Candidate,
    RoundRecord,
    image_path,
    save_round,
    write_tables,
)
from sonobalance.synthesis.provenance import parent_ids, text_chunks
from sonobalance.synthesis.realism import realism_of
from sonobalance.synthesis.select import BY_RANK, Pool, make_pool, select
from sonobalance.synthesis.yardstick import Yardstick

Enlarge = Callable[[LabelledImages], LabelledImages]
COUNTED = ("realism", "class", "typicality", "novelty", "diversity", "surplus")


@dataclass
class Loop:
    """The state of the loop: the finished rounds and what they accepted."""

    yardstick: Yardstick
    generator: ImageGenerator
    settings: SynthesisSettings
    targets: Mapping[str, int]
    present: Mapping[str, int]
    enlarge: Enlarge | None
    seed: int
    folder: Path
    records: list[RoundRecord]
    images: LabelledImages = field(init=False)
    additions: Additions = field(init=False)
    ancestry: dict[str, frozenset[int]] = field(init=False)

    def __post_init__(self) -> None:
        train = self.yardstick.train
        self.images = train.take([])
        self.ancestry = {key: frozenset([i]) for i, key in enumerate(train.ids)}
        self.additions = self._added(self.images, [])
        for record in self.records:
            self._take_in(record, self._read_images(record))

    @property
    def deficits(self) -> dict[str, int]:
        """Class → images still missing."""
        added = Counter(c.label for r in self.records for c in r.kept)
        return {k: self.targets[k] - self.present[k] - added[k] for k in self.present}

    def commit(self, record: RoundRecord, identity: str) -> None:
        """Make a finished round durable."""
        save_round(self.folder, record, identity)
        self.records.append(record)
        write_tables(self.folder, self.records)

    def round_zero(self) -> RoundRecord:
        """What the inner validation says without any synthesis, classes weighing the same."""
        began = time.monotonic()
        predictions = self.yardstick.judge.predict(None)
        row: dict[str, Any] = {"round": 0, "added": 0, "total": len(self.yardstick.train)}
        row |= self._judged(predictions) | {"seconds": round(time.monotonic() - began, 1)}
        return RoundRecord(0, (), row, predictions.tolist(), {})

    def next_round(self) -> RoundRecord:
        """Advance the generator, then generate, gate, add and judge."""
        began, number = time.monotonic(), len(self.records)
        self.generator.advance(number, self.images if self.settings.feed_back else None)
        realism = realism_of(self.generator, self.yardstick.train, self.settings)
        candidates: list[Candidate] = []
        per_class: dict[str, Any] = {}
        accepted = self.yardstick.train.take([])
        for target, (label, deficit) in enumerate(self.deficits.items()):
            if deficit <= 0:
                continue
            pool, chosen, columns = self._one_class(number, target, deficit, realism, accepted)
            accepted = accepted.join(pool.images.take([c.index for c in chosen if c.kept]))
            candidates += chosen
            per_class |= {f"{key}_{label}": value for key, value in columns.items()}
        self._write_images(accepted, [c for c in candidates if c.kept])
        thresholds = {"realism": asdict(realism.threshold)}
        record = RoundRecord(number, tuple(candidates), {}, [], thresholds)
        self._take_in(record, accepted)
        predictions = self.yardstick.judge.predict(self.additions)
        row = self._row(record) | self._judged(predictions) | per_class
        row["seconds"] = round(time.monotonic() - began, 1)
        return RoundRecord(number, tuple(candidates), row, predictions.tolist(), thresholds)

    def _one_class(
        self, number: int, target: int, deficit: int, realism: Realism, accepted: LabelledImages
    ) -> tuple[Pool, list[Candidate], dict[str, Any]]:
        """Pool, decisions and the columns of `rounds.csv` of one class."""
        settings, label = self.settings, self.yardstick.train.classes[target]
        first, gates = self.targets[label] - self.present[label], self.yardstick.gates
        quota = min(deficit, math.ceil(settings.cap_share * first))
        pool = make_pool(
            self.generator, gates, realism, number=number, target=target,
            size=max(settings.min_pool, math.ceil(settings.pool_factor * quota)),
            seed=derive(self.seed, "pool", number, label), truncation=settings.truncation,
        )  # fmt: skip
        tables = gates.diversity.tables(pool.images.pixels, self.images.join(accepted).pixels)
        chosen = select(
            pool, gates, realism, tables, quota=quota,
            hard_quota=round(settings.hard_share * quota), realism_share=settings.realism_share,
        )  # fmt: skip
        failed = Counter(c.reason.split(":")[0] for c in chosen if not c.kept)
        added = sum(c.kept for c in chosen)
        return pool, chosen, {
            "asked": quota,
            "made": len(chosen),
            **{f"rejected_{gate}": failed[gate] for gate in COUNTED},
            "added": added,
            "added_by_rank": sum(c.kept and c.reason.endswith(BY_RANK) for c in chosen),
            "total": self.targets[label] - deficit + added,
            "twins": gates.diversity.twin_share(tables[1], settings.min_pool),
            "coverage": self._coverage(pool),
        }  # fmt: skip

    def _coverage(self, pool: Pool) -> float:
        """Share of the class's real images that the first candidates of the pool cover."""
        inner = self.yardstick.inner
        real = inner.features[inner.targets == pool.target]
        return density_coverage(real, pool.features[: self.settings.min_pool])[1]

    def _write_images(self, images: LabelledImages, kept: list[Candidate]) -> None:
        train = hash_images(self.yardstick.train)
        for pixels, candidate in zip(images.pixels, kept, strict=True):
            text = text_chunks(
                candidate, self.generator.fingerprint, train, truncation=self.settings.truncation
            )
            write_png(self.folder / image_path(candidate), pixels[0].numpy(), text)

    def _read_images(self, record: RoundRecord) -> LabelledImages:
        """The accepted images of a finished round."""
        classes, kept = self.yardstick.train.classes, record.kept
        empty = self.yardstick.train.pixels[:0]
        pixels = [torch.from_numpy(read_gray(self.folder / image_path(c)).copy()) for c in kept]
        return LabelledImages(
            torch.cat([empty, *(p[None, None] for p in pixels)]),
            torch.tensor([classes.index(c.label) for c in kept], dtype=torch.int64),
            tuple(c.id for c in kept),
            classes,
        )

    def _take_in(self, record: RoundRecord, accepted: LabelledImages) -> None:
        """Add the accepted images of a round."""
        self.images = self.images.join(accepted)
        self.additions = self.additions.join(self._added(accepted, record.kept))

    def _added(self, images: LabelledImages, kept: Sequence[Candidate]) -> Additions:
        return _additions(self.yardstick, images, kept, self.ancestry, self.enlarge)

    def _row(self, record: RoundRecord) -> dict[str, Any]:
        made = len(record.candidates)
        passed = sum(c.kept or c.reason.startswith("surplus") for c in record.candidates)
        return {
            "round": record.number,
            "added": len(record.kept),
            "total": len(self.yardstick.train) + len(self.images),
            "acceptance": passed / made,
        }

    def _judged(self, predictions: Any) -> dict[str, float]:
        judge = self.yardstick.judge
        recalls = zip(self.yardstick.train.classes, judge.recalls(predictions), strict=True)
        return {
            "macro_f1": judge.macro_f1(predictions),
            **{f"recall_{label}": value for label, value in recalls},
        }


def _additions(
    yardstick: Yardstick,
    images: LabelledImages,
    kept: Sequence[Candidate],
    ancestry: dict[str, frozenset[int]],
    enlarge: Enlarge | None = None,
) -> Additions:
    """Accepted images of one round for the inner validation; adds them to `ancestry`.

    The parent of an image is a TRAIN image or, where those are fed back, an accepted one, whose
    own relatives then count.
    """
    nobody: frozenset[int] = frozenset()
    for c in kept:
        known = (c.nearest_id, *parent_ids(c.parents))
        ancestry[c.id] = nobody.union(*(ancestry.get(key, nobody) for key in known))
    relatives = tuple(ancestry[c.id] for c in kept)
    drawn = yardstick.gates.features(images)
    seen = yardstick.gates.features(enlarge(images)) if enlarge else drawn
    return Additions(drawn, seen, images.targets.numpy(), relatives)
