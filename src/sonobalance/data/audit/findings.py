"""What an audit says: one problem, the images it concerns, how sure it is, one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal[
    "exact-duplicate",
    "near-duplicate",
    "label-conflict",
    "mark-shortcut",
    "metadata-shortcut",
    "broken",
    "constant",
    "tiny",
    "imbalance",
]


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem of a set of images.

    Attributes:
        kind: what sort of problem.
        ids: the images concerned, in the manifest's order; empty for the set as a whole.
        score: in [0, 1]; 1 is certain or as bad as it gets.
        text: one sentence for people.
    """

    kind: Kind
    ids: tuple[str, ...]
    score: float
    text: str

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1:
            raise ValueError(f"Expected a score in [0, 1], but got {self.score}.")

    def as_json(self) -> dict[str, Any]:
        """The finding as it stands in `audit.json`; the score has four decimals."""
        return {
            "kind": self.kind,
            "ids": list(self.ids),
            "score": round(self.score, 4),
            "text": self.text,
        }
