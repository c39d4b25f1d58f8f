"""The table that grows while the benchmark runs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from sonobalance.comparison.pooling import blocks_by_arm
from sonobalance.comparison.units import Unit
from sonobalance.evaluation.metrics import metrics_of
from sonobalance.evaluation.repeated import Tested, averaged
from sonobalance.reporting.formatting import metric_name, number

SHOWN = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "ece")
BINS = 10


def table_of(done: Sequence[Unit], units: Sequence[Unit], arms: Sequence[str]) -> Table:
    """Point values of each arm over the units that are finished; arms may differ in folds."""
    table = Table(title=f"{len(done)} of {len(units)} units", title_justify="left")
    table.add_column("arm", no_wrap=True)
    for column in ("folds", *map(metric_name, SHOWN)):
        table.add_column(column, justify="right")
    wanted = {arm: sum(unit.arm == arm for unit in units) for arm in arms}
    scores = _scores(done)
    for arm in arms:
        seen = sum(unit.arm == arm for unit in done)
        values = scores.get(arm, {})
        cells = [number(values.get(name)) for name in SHOWN]
        table.add_row(arm, f"{seen}/{wanted[arm]}", *cells)
    return table


def _scores(done: Sequence[Unit]) -> dict[str, dict[str, float]]:
    out = {}
    for arm, blocks in blocks_by_arm(done).items():
        first = next(iter(blocks.values()))
        metrics = metrics_of(tuple(map(str, range(first.probabilities.shape[1]))), BINS)
        images = Tested.of(blocks.values())
        shown = [m for m in metrics if m.name in SHOWN]
        out[arm] = {m.name: averaged(m, blocks, images).value for m in shown}
    return out
