"""`predictions.csv`: one row per arm and real image, the only thing evaluation reads.

Columns: arm, id, path, part (val or test), label, group, predicted, p_<class> for every class.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sonobalance.errors import InputError
from sonobalance.files import write_text

TEXT_COLUMNS = ("arm", "id", "path", "part", "label", "group", "predicted")
PREFIX = "p_"
SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ArmPredictions:
    """What one arm said about the images of one part, sorted by id.

    Attributes:
        ids: (N,) image ids.
        groups: (N,) group of each image.
        targets: (N,) int64 index of the true class.
        probabilities: (N, K) float64 in [0, 1], rows summing to 1.
    """

    ids: tuple[str, ...]
    groups: NDArray[np.str_]
    targets: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ids)


def write_predictions(path: Path, frame: pd.DataFrame) -> None:
    """Check a table of predictions and write it as CSV, atomically.

    Raises:
        InputError: see `check_predictions`.
    """
    checked = check_predictions(frame, str(path))
    write_text(path, checked.to_csv(index=False, lineterminator="\n"))


def read_predictions(path: Path, known_ids: Collection[str] | None = None) -> pd.DataFrame:
    """Read and check a table of predictions.

    Args:
        path: the CSV file.
        known_ids: ids of the real images of VAL and TEST; any other id, such as a synthetic
            image's, is refused (promise P2). None skips this check.

    Raises:
        InputError: the file is missing, malformed, or fails `check_predictions`.
    """
    text = dict.fromkeys(TEXT_COLUMNS, str)
    try:
        frame = pd.read_csv(path, dtype=text, keep_default_na=False, na_values={}, encoding="utf-8")
    except FileNotFoundError:
        raise InputError(
            f"Expected predictions at {path}, but there are none; run `predict` first."
        ) from None
    except (ValueError, OSError) as error:
        raise InputError(f"Expected a CSV of predictions in {path}, but {error}.") from None
    return check_predictions(frame, str(path), known_ids)


def classes_of(frame: pd.DataFrame) -> tuple[str, ...]:
    """The class names, from the probability columns, in alphabetical order."""
    return tuple(sorted(c.removeprefix(PREFIX) for c in frame.columns if c.startswith(PREFIX)))


def check_predictions(
    frame: pd.DataFrame, where: str = "the predictions", known_ids: Collection[str] | None = None
) -> pd.DataFrame:
    """The table with text and number columns made so, when it is fit to be evaluated.

    Raises:
        InputError: a column is missing, a value is empty, a part or class is unknown, an image
            occurs twice in an arm or is not known, probabilities are no numbers in [0, 1] or do
            not sum to 1, or `predicted` is not the most probable class.
    """
    classes = classes_of(frame)
    _check_columns(frame, classes, where)
    columns = [PREFIX + name for name in classes]
    table = frame[[*TEXT_COLUMNS, *columns]].astype(dict.fromkeys(TEXT_COLUMNS, str))
    table[columns] = table[columns].apply(pd.to_numeric, errors="coerce").astype(np.float64)
    _check_text(table, classes, where)
    _check_probabilities(table, columns, classes, where)
    strange = [] if known_ids is None else sorted(set(table["id"]) - set(known_ids))
    if strange:
        raise InputError(
            f"Expected only real images of VAL and TEST in {where}, but {strange[0]!r} is none."
        )
    return table


def arm_predictions(frame: pd.DataFrame, arm: str, part: str) -> ArmPredictions:
    """One arm's rows of one part, sorted by id."""
    classes = classes_of(frame)
    rows = frame[(frame["arm"] == arm) & (frame["part"] == part)].sort_values("id")
    index = {name: k for k, name in enumerate(classes)}
    values = rows[[PREFIX + name for name in classes]].to_numpy(np.float64)
    return ArmPredictions(
        tuple(rows["id"]),
        rows["group"].to_numpy(np.str_),
        np.array([index[label] for label in rows["label"]], np.int64),
        values / values.sum(1, keepdims=True),
    )


def _check_columns(frame: pd.DataFrame, classes: tuple[str, ...], where: str) -> None:
    missing = [name for name in TEXT_COLUMNS if name not in frame.columns]
    if missing:
        raise InputError(f"Expected {where} to have the column(s) {', '.join(missing)}.")
    if len(classes) < 2:
        raise InputError(
            f"Expected {where} to have a column {PREFIX}<class> for each of two or more classes, "
            f"but got {len(classes)}."
        )
    if frame.empty:
        raise InputError(f"Expected {where} to have rows, but it has none.")


def _check_text(table: pd.DataFrame, classes: tuple[str, ...], where: str) -> None:
    for column in ("arm", "id", "group"):
        if table[column].isin(["", "nan", "None"]).any():
            raise InputError(f"Expected every row of {where} to have a {column}, but one is empty.")
    allowed = {"part": ("val", "test"), "label": classes, "predicted": classes}
    for column, values in allowed.items():
        bad = table.loc[~table[column].isin(values)]
        if len(bad):
            raise InputError(
                f"Expected `{column}` in {where} to be one of {', '.join(values)}, but got "
                f"{bad[column].iloc[0]!r} for {bad['id'].iloc[0]!r}."
            )
    twice = table.loc[table.duplicated(["arm", "id"])]
    if len(twice):
        raise InputError(
            f"Expected each image once per arm in {where}, but {twice['id'].iloc[0]!r} occurs "
            f"twice in arm {twice['arm'].iloc[0]!r}."
        )


def _check_probabilities(
    table: pd.DataFrame, columns: list[str], classes: tuple[str, ...], where: str
) -> None:
    values = table[columns].to_numpy()
    index = {name: k for k, name in enumerate(classes)}
    said = values[np.arange(len(values)), table["predicted"].map(index).to_numpy()]
    rules = {
        "probabilities to be numbers in [0, 1]": ~((values >= 0) & (values <= 1)).all(1),
        "probabilities to sum to 1": ~(np.abs(values.sum(1) - 1) <= SUM_TOLERANCE),
        "`predicted` to be the most probable class": said < values.max(1) - SUM_TOLERANCE,
    }
    for rule, broken in rules.items():
        if broken.any():
            row = int(broken.argmax())
            got = ", ".join(f"{c}={v:g}" for c, v in zip(columns, values[row], strict=True))
            raise InputError(
                f"Expected {rule} in {where}, but got {got} for {table['id'].iloc[row]!r} "
                f"in arm {table['arm'].iloc[row]!r}."
            )
