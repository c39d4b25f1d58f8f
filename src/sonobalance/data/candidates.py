"""What readers of a source hand on: images found but not yet opened, and files left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "broken", "tiny", "mask", "unlabelled", "unlisted", "missing", "repeated", "unsupported",
    "name", "burnt-in", "identifying", "synthetic",
]  # fmt: skip


@dataclass(frozen=True)
class Skipped:
    """A file that was seen and left out; the rest of the folder is used.

    Attributes:
        path: POSIX path relative to the source's root; withheld where it names the patient.
        reason: one sentence.
        kind: ``broken`` (unreadable, truncated, empty, too large), ``tiny``, ``mask`` (of no image,
            unreadable, or of another shape; its image is kept), ``unlabelled``, ``unlisted`` (not
            in the index), ``missing`` (in the index only), ``repeated`` (twice in the index),
            ``unsupported`` (an image format that is not read), ``name`` (not storable as text),
            ``burnt-in`` (annotation may identify the patient), ``identifying`` (its path does),
            ``synthetic`` (its own text says that it was generated).
    """

    path: str
    reason: str
    kind: Kind = "broken"


@dataclass(frozen=True)
class Candidate:
    """An image that a reader found.

    Attributes:
        path: POSIX path relative to the root.
        label: class name.
        patient: pseudonymous patient key, or empty.
        masks: POSIX paths of its lesion masks relative to the root.
        id: the source's own id, or empty to derive one from the path.
        frame: the frame that is meant, or None for the file as a whole.
        device: scanner by maker and model, or empty.
    """

    path: str
    label: str
    patient: str = ""
    masks: tuple[str, ...] = ()
    id: str = ""
    frame: int | None = None
    device: str = ""


@dataclass(frozen=True)
class Found:
    """The result of a reader: its name, images, the files left out, and the classes it expects."""

    source: str
    candidates: list[Candidate]
    skipped: list[Skipped] = field(default_factory=list)
    classes: tuple[str, ...] = ()
