"""Published parts and folds are used as they are, and mended where relatives cross."""

from pathlib import Path

import numpy as np
import pytest
from made_up_sets import BUSBRA, alone, busi_like, manifest_of, rows_of

from sonobalance.config import SplitSettings
from sonobalance.data.manifest import Manifest
from sonobalance.data.split import make_splits
from sonobalance.errors import InputError


def busbra_like(tmp_path: Path) -> tuple[Manifest, Path]:
    """Thirty patients with two images each; VAL is marked per image, as BUS-BRA does it."""
    rng = np.random.default_rng(0)
    rows, patients, lines = [], [], ["ID,Pathology,kFold,valid_1,valid_2,valid_3"]
    for patient in range(30):
        fold, label = patient % 3 + 1, "malignant" if patient % 2 else "benign"
        for side in "lr":
            key = f"bus_{patient:04d}-{side}"
            marks = ["NaN" if k == fold else str(int(rng.random() < 0.7)) for k in (1, 2, 3)]
            rows.append((key, label))
            patients.append(str(patient))
            lines.append(",".join([key, label, str(fold), *marks]))
    (tmp_path / "folds.csv").write_text("\n".join(lines) + "\n")
    return manifest_of(*rows, patient=patients), tmp_path / "folds.csv"


@pytest.mark.parametrize(("chosen", "tested"), [("", 1), ("2", 2)])
def test_official_folds_are_used_and_torn_patients_mended(
    tmp_path: Path, chosen: str, tested: int
) -> None:
    manifest, path = busbra_like(tmp_path)
    official = {row["ID"]: row for row in rows_of(path)}
    splits = make_splits(
        manifest, alone(manifest), SplitSettings(official_csv=path, official_test_fold=chosen), 0
    )
    assert all(splits.fold[key] == int(row["kFold"]) - 1 for key, row in official.items())
    assert {r.id for r in splits.of("test")} == {
        key for key, row in official.items() if int(row["kFold"]) == tested
    }
    wanted = {key for key, row in official.items() if row[f"valid_{tested}"] == "0"}
    got = {r.id for r in splits.of("val")}
    assert abs(len(got) - len(wanted)) <= 2
    for r in manifest:  # a patient whose images all stand in one official part stays there
        both = {official[f"{r.id[:-1]}{side}"][f"valid_{tested}"] for side in "lr"}
        if both == {"0"}:
            assert splits.part[r.id] == "val"
        if both == {"1"}:
            assert splits.part[r.id] == "train"


def test_official_folds_without_validation_column_get_a_dealt_one(tmp_path: Path) -> None:
    manifest, path = busbra_like(tmp_path)
    chosen = SplitSettings(official_csv=path, official_val_column="")
    splits = make_splits(manifest, alone(manifest), chosen, 0)
    assert len(splits.of("test")) == 20
    assert 4 <= len(splits.of("val")) <= 8


def test_a_group_across_official_folds_goes_to_one_of_them(tmp_path: Path) -> None:
    manifest, path = busbra_like(tmp_path)
    group = alone(manifest) | {"bus_0000-l": "x", "bus_0002-l": "x"}
    splits = make_splits(manifest, group, SplitSettings(official_csv=path), 0)
    ends = {splits.fold[f"bus_{p}-{side}"] for p in ("0000", "0002") for side in "lr"}
    assert ends in ({0}, {2})


def test_leaky_official_parts_stay_as_published(tmp_path: Path) -> None:
    manifest, path = busbra_like(tmp_path)
    splits = make_splits(manifest, alone(manifest), SplitSettings(official_csv=path, leaky=True), 0)
    rows = rows_of(path)
    assert {r.id for r in splits.of("val")} == {row["ID"] for row in rows if row["valid_1"] == "0"}


def test_official_part_column_by_file_name(tmp_path: Path) -> None:
    manifest, group = busi_like(0, 0.1)
    parts = ["train", "Training", "valid", "test"]
    lines = [f"{Path(r.path).name},{parts[i % 4]}" for i, r in enumerate(manifest)]
    (tmp_path / "parts.csv").write_text("\n".join(["file,use", *lines]) + "\n")
    chosen = SplitSettings(
        official_csv=tmp_path / "parts.csv", official_id_column="file", official_part_column="use",
        folds=3,
    )  # fmt: skip
    splits = make_splits(manifest, alone(manifest), chosen, 0)
    expected = ["train", "train", "val", "test"]
    assert [splits.part[key] for key in manifest.ids] == [
        expected[i % 4] for i in range(len(manifest))
    ]
    make_splits(manifest, group, chosen, 0)  # torn groups are mended, not refused


def test_unusable_official_files_are_refused(tmp_path: Path) -> None:
    manifest, path = busbra_like(tmp_path)
    whole = path.read_text()
    cases = {
        "1 are missing there, first 'bus_0029-r'": "\n".join(whole.splitlines()[:-1]),
        "'kFold'": whole.replace("kFold", "fold"),
        "'ID'": whole.replace("ID,", "Image,"),
        "among them '9'": whole,
    }
    for said, text in cases.items():
        path.write_text(text)
        chosen = SplitSettings(official_csv=path, official_test_fold="9" if "'9'" in said else "")
        with pytest.raises(InputError, match=said):
            make_splits(manifest, alone(manifest), chosen, 0)
    with pytest.raises(InputError, match="there is none"):
        make_splits(manifest, alone(manifest), SplitSettings(official_csv=tmp_path / "no.csv"), 0)


@pytest.mark.shared
@pytest.mark.parametrize("folds", [5, 10])
def test_fold_files_of_bus_bra_work_as_they_are(folds: int) -> None:
    if not BUSBRA.is_dir():
        pytest.skip("needs BUS-BRA beside the checkout")
    rows = rows_of(BUSBRA / "bus_data.csv")
    manifest = manifest_of(
        *[(row["ID"], row["Pathology"]) for row in rows], patient=[row["Case"] for row in rows]
    )
    chosen = SplitSettings(official_csv=BUSBRA / f"{folds}-fold-cv.csv")
    splits = make_splits(manifest, alone(manifest), chosen, 0)
    official = {row["ID"]: row for row in rows_of(BUSBRA / f"{folds}-fold-cv.csv")}
    assert all(splits.fold[key] == int(row["kFold"]) - 1 for key, row in official.items())
    marked = sum(row["valid_1"] == "0" for row in official.values())
    assert abs(len(splits.of("val")) - marked) <= 2
