"""The loop at its word: its images where it found them useful inside TRAIN, none elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sonobalance.artefacts import advised_against
from sonobalance.comparison.units import Unit
from sonobalance.config import Arm
from sonobalance.evaluation.repeated import Blocks
from sonobalance.runs import open_run

GUARDED = "guarded"
TRUSTED: Arm = "dual-iterative"
ELSE: Arm = "over-sampling"
SENTENCE = (
    f"{TRUSTED} where a round of its loop was better inside TRAIN than no synthetic images, "
    f"{ELSE} where none was; trained nowhere anew"
)


def with_guarded(blocks: Mapping[str, Blocks], units: Iterable[Unit]) -> dict[str, Blocks]:
    """The arms, and `guarded` besides where the two arms that it is made of were trained.

    Which of the two a fold gets was decided by the inner validation alone, so that TEST is as
    unseen as for any other arm.

    Args:
        blocks: arm → (seed, fold) → predictions of TEST.
        units: all finished.
    """
    if not {TRUSTED, ELSE} <= blocks.keys():
        return dict(blocks)
    taken = {
        (unit.fold.seed, unit.fold.number): ELSE
        if advised_against(open_run(unit.folder))
        else TRUSTED
        for unit in units
        if unit.arm == TRUSTED
    }
    return {**blocks, GUARDED: {place: blocks[arm][place] for place, arm in taken.items()}}
