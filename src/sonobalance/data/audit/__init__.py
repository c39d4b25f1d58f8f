"""What is wrong with a set of images: near-duplicates, label conflicts, marks, shortcuts."""

from sonobalance.data.audit.audit import audit
from sonobalance.data.audit.duplicates import Pair
from sonobalance.data.audit.findings import Finding
from sonobalance.data.audit.marks import Mark, find_marks
from sonobalance.data.audit.outcome import Audit, write_tables

__all__ = ["Audit", "Finding", "Mark", "Pair", "audit", "find_marks", "write_tables"]
