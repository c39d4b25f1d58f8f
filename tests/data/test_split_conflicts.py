"""What is done about near-duplicates under different labels."""

from pathlib import Path

import pytest
from made_up_sets import alone, conflicted, manifest_of

from sonobalance.config import SplitSettings
from sonobalance.data.relatives import conflicting
from sonobalance.data.split import make_splits, read_splits
from sonobalance.errors import InputError


def test_dropped_conflicts_are_in_no_part_but_their_patient_stays() -> None:
    manifest, group = conflicted()
    splits = make_splits(manifest, group, SplitSettings(), 0)
    assert {r.id for r in splits.of("excluded")} == {"a0", "b0"}
    assert splits.fold["a0"] == splits.fold["b0"] == -1
    assert splits.part["a1"] != "excluded"


def test_kept_conflicts_train_with_their_relatives_and_are_never_tested() -> None:
    manifest, group = conflicted()
    splits = make_splits(manifest, group, SplitSettings(label_conflicts="keep"), 0)
    assert {splits.part[key] for key in ("a0", "a1", "b0")} == {"train"}
    assert {splits.fold[key] for key in ("a0", "a1", "b0")} == {-1}


@pytest.mark.parametrize(
    ("patients", "digests", "conflict"),
    [
        (("", ""), ("", ""), True), (("1", "2"), ("", ""), True), (("1", ""), ("", ""), True),
        (("1", "1"), ("", ""), False), (("1", "1"), ("x", "x"), True),
        (("1", "1"), ("x", "y"), False),
    ],
)  # fmt: skip
def test_a_patient_with_lesions_of_two_classes_is_no_conflict(
    patients: tuple[str, str], digests: tuple[str, str], conflict: bool
) -> None:
    manifest = manifest_of(("p", "a"), ("q", "b"), patient=[*patients], sha256=[*digests])
    assert conflicting(manifest, {"p": "g", "q": "g"}) == ({"p", "q"} if conflict else set())


def test_near_duplicates_alone_decide_what_contradicts() -> None:
    """With the groups of near-duplicates at hand, patients neither hide nor make a conflict."""
    rows = [("p", "a"), ("q", "b"), ("r", "b")]
    manifest = manifest_of(*rows, patient=["1", "1", "2"])
    together = dict.fromkeys("pqr", "g")
    apart, near = {"p": "1", "q": "2", "r": "3"}, {"p": "1", "q": "1", "r": "2"}
    assert conflicting(manifest, together, apart) == set()
    assert conflicting(manifest, together, near) == {"p", "q"}
    assert conflicting(manifest, together) == {"p", "q", "r"}


def test_relabelling_settles_a_conflict_and_is_read_back(tmp_path: Path) -> None:
    manifest, group = conflicted()
    (tmp_path / "labels.csv").write_text("id,label\nb0,a\n")
    chosen = SplitSettings(label_conflicts="relabel", labels_csv=tmp_path / "labels.csv")
    splits = make_splits(manifest, group, chosen, 0)
    assert not len(splits.of("excluded"))
    assert splits.manifest.counts == {"a": 11, "b": 9}
    splits.write(tmp_path / "splits.csv")
    assert read_splits(tmp_path / "splits.csv", manifest) == splits


@pytest.mark.parametrize(
    ("text", "said"),
    [("id,label\nzz,a\n", "zz"), ("id,label\nb0,c\n", "'c'"), ("id\nb0\n", "'label'"), ("", "CSV")],
)
def test_unusable_relabelling_is_refused(tmp_path: Path, text: str, said: str) -> None:
    manifest, group = conflicted()
    (tmp_path / "labels.csv").write_text(text)
    chosen = SplitSettings(label_conflicts="relabel", labels_csv=tmp_path / "labels.csv")
    with pytest.raises(InputError, match=said):
        make_splits(manifest, group, chosen, 0)


def test_a_class_lost_to_conflicts_is_named() -> None:
    rows = [(f"{label}{i}", label) for label in "ab" for i in range(10)]
    manifest = manifest_of(*rows, ("c0", "c"))
    with pytest.raises(InputError, match="'c'"):
        make_splits(manifest, alone(manifest) | {"c0": "a0"}, SplitSettings(), 0)
