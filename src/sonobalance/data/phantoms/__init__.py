"""Phantoms: simulated breast ultrasound with known truth, for tests, examples and the demo."""

from sonobalance.data.phantoms.dataset import make_phantoms
from sonobalance.data.phantoms.generator import KINDS, phantom

__all__ = ["KINDS", "make_phantoms", "phantom"]
