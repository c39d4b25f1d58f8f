"""Settings of files, audit and splits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import Field, field_validator, model_validator

from sonobalance.config.section import Section

Conflicts = Literal["drop", "keep", "relabel"]
MOST_FOLDS = 50


class DataSettings(Section):
    """How files become a manifest."""

    layout: Literal[
        "auto", "busi", "folders", "csv", "parquet", "bus-bra", "bus-uclm", "medmnist"
    ] = Field("auto", description="Reader of the source; `auto` looks at the files.")
    id_column: str = Field("id", description="Index table: column with the image id (optional).")
    path_column: str = Field("path", description="Index table: column with the image path.")
    label_column: str = Field("label", description="Index table: column with the class name.")
    patient_column: str = Field("patient", description="Index table: column with the patient key.")
    mask_column: str = Field(
        "mask", description="Index table: column with the lesion-mask path; else `masks`."
    )
    device_column: str = Field(
        "device", description="Index table: column with the scanner's name (optional)."
    )
    patient_pattern: str = Field(
        "",
        description="Regular expression on the relative path whose first group is the patient key.",
    )
    min_side_px: int = Field(16, ge=1, description="Images with a shorter side are skipped.")
    max_megapixels: float = Field(
        50.0, gt=0, le=100,
        description="Larger images are refused unread (decompression bombs).",
    )  # fmt: skip
    frames_per_clip: int = Field(
        3,
        ge=1,
        le=1000,
        description="Evenly spaced frames taken of a clip (DICOM, GIF, WebP, animated PNG, TIFF).",
    )
    allow_burnt_in: bool = Field(
        False, description="Use DICOM files whose header says that annotation is burnt in."
    )

    @field_validator("patient_pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"it is no regular expression ({error})") from None
        return pattern


class AuditSettings(Section):
    """How near-duplicates, marks and shortcuts are looked for."""

    near_duplicates: bool = Field(True, description="Look for near-duplicate images.")
    mirrored: bool = Field(True, description="Look for copies with left and right exchanged too.")
    duplicate_threshold: float = Field(
        0.5, gt=0, lt=1, description="Score in (0, 1) from which a pair counts as near-duplicate."
    )
    joining_threshold: float = Field(
        0.6, gt=0, le=1,
        description="Score from which one pair alone may join two groups of several images each.",
    )  # fmt: skip
    shortlist_size: int = Field(
        20, ge=1, le=1000, description="Nearest images by global descriptor that are verified."
    )
    exhaustive_up_to: int = Field(
        1000, ge=0, description="Sets of at most this many images are verified pair by pair."
    )
    working_side_px: int = Field(
        160, ge=64, le=1024, description="Longer side at which local features are taken, pixels."
    )
    keypoints: int = Field(150, ge=50, le=5000, description="Local features per image.")
    closer_side_px: int = Field(
        256, ge=64, le=1024, description="Longer side, pixels, at the closer look at open pairs."
    )
    closer_keypoints: int = Field(
        600, ge=50, le=5000, description="Local features at the closer look at such pairs."
    )
    closer_pairs_per_image: float = Field(
        0.25, ge=0, le=1000,
        description="Closer looks in large sets, most doubtful first; 2000 pairs in any set.",
    )  # fmt: skip
    marks: bool = Field(True, description="Look for burnt-in calipers, text, pictograms, colour.")
    workers: int = Field(2, ge=1, le=256, description="Threads; the result does not depend on it.")


class SplitSettings(Section):
    """How groups are dealt to TRAIN, VAL and TEST."""

    test_fraction: float = Field(0.2, gt=0, lt=0.9, description="Share of the images in TEST.")
    val_fraction: float = Field(0.16, gt=0, lt=0.9, description="Share of the images in VAL.")
    folds: int = Field(
        5, ge=2, le=MOST_FOLDS, description="Folds of the grouped cross-validation column."
    )
    repeats: int = Field(
        1, ge=1, le=100,
        description="Repeats of the folds in `folds.csv`, not for `benchmark`, which has --seeds.",
    )  # fmt: skip
    label_conflicts: Conflicts = Field(
        "drop",
        description="Near-duplicates under different labels: `drop` uses none of them, `keep`"
        " trains on them but never tests, `relabel` takes `labels_csv` and drops the rest.",
    )
    labels_csv: Path | None = Field(
        None, description="For `relabel`: a CSV with the columns id and label."
    )
    official_csv: Path | None = Field(
        None, description="CSV with published parts or folds, used in place of random ones."
    )
    official_id_column: str = Field(
        "ID", description="Official CSV: column with the id, path or file name of the image."
    )
    official_fold_column: str = Field(
        "kFold", description="Official CSV: column with the test fold of the image."
    )
    official_test_fold: str = Field(
        "", description="Official CSV: fold that is TEST; empty is the first."
    )
    official_val_column: str = Field(
        "valid_{fold}",
        description="Official CSV: column with 0 for VAL and 1 for TRAIN when `{fold}` is TEST.",
    )
    official_part_column: str = Field(
        "", description="Official CSV: column with train, val or test, used in place of the folds."
    )
    subset_csv: Path | None = Field(
        None, description="CSV whose first column names (id, path or file) the images to use."
    )
    leaky: Annotated[bool, Parameter(name=("leaky", "--leaky"))] = Field(
        False, description="Split single images at random, for comparison with papers only."
    )

    @model_validator(mode="after")
    def _train_is_left(self) -> SplitSettings:
        if self.test_fraction + self.val_fraction > 0.95:
            raise ValueError("test_fraction and val_fraction leave less than 5 % for training")
        if (self.label_conflicts == "relabel") != (self.labels_csv is not None):
            raise ValueError(
                "label_conflicts = relabel and labels_csv need each other; for another policy give "
                "labels_csv = none as well"
            )
        return self
