"""The names in a CSV mean the images that a reader of the CSV would expect."""

from pathlib import Path

import pytest

from sonobalance.config import SplitSettings
from sonobalance.data.manifest import Manifest, Record
from sonobalance.data.official import official_parts
from sonobalance.data.relatives import in_subset
from sonobalance.data.split import make_splits
from sonobalance.errors import InputError

FILES = {"1": "8.gif", "2": "7.png", "3": "6.png", "6": "3.png", "7": "2.png", "8": "1.png"}


def numbered() -> Manifest:
    """Ids and file names that are each other's; the image 1 is a clip of two frames."""
    records = [Record(key, f"im/{file}", "ab"[int(key) % 2]) for key, file in FILES.items()]
    clip = [Record(f"1#{f}", "im/8.gif", "b", patient="1", frame=f) for f in (0, 2)]
    return Manifest((*clip, *records[1:]), Path("images"))


def chosen(tmp_path: Path, *names: str, manifest: Manifest | None = None) -> set[str]:
    table = tmp_path / "subset.csv"
    table.write_text("\n".join(["name", *names]) + "\n")
    return set(in_subset(manifest or numbered(), table).ids)


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("7", {"7"}), ("2", {"2"}), ("7.png", {"2"}), ("im/7.png", {"2"}), ("1#2", {"1#2"}),
        ("1", {"1#0", "1#2"}), ("im/8.gif", {"1#0", "1#2"}), ("8.gif", {"1#0", "1#2"}),
    ],
)  # fmt: skip
def test_an_id_goes_before_a_path_before_a_file_name(
    tmp_path: Path, name: str, ids: set[str]
) -> None:
    assert chosen(tmp_path, name) == ids


def test_a_path_of_an_archive_means_all_its_images(tmp_path: Path) -> None:
    images = tuple(Record(f"toy/train/{i:06d}", "toy.npz", "a", frame=i) for i in range(3))
    manifest = Manifest(images, Path())
    assert chosen(tmp_path, "toy.npz", manifest=manifest) == set(manifest.ids)
    assert chosen(tmp_path, "toy/train/000001", manifest=manifest) == {"toy/train/000001"}


def test_a_file_name_that_several_files_have_is_refused(tmp_path: Path) -> None:
    paths = ("a/x.png", "b/x.png", "b/y.gif", "b/y.png")
    manifest = Manifest(tuple(Record(f"k{p}", p, "a") for p in paths), Path())
    assert chosen(tmp_path, "a/x.png", "y.gif", manifest=manifest) == {"ka/x.png", "kb/y.gif"}
    for name, said in {"x.png": "'x.png' may be a/x.png or b/x.png", "y": "'y' may be"}.items():
        with pytest.raises(InputError, match=said):
            chosen(tmp_path, name, manifest=manifest)
    with pytest.raises(InputError, match="1 are unknown, first 'z'"):
        chosen(tmp_path, "z", manifest=manifest)


def test_a_list_without_a_heading_keeps_its_first_image(tmp_path: Path) -> None:
    table = tmp_path / "subset.csv"
    table.write_text("7\n2\n")
    assert set(in_subset(numbered(), table).ids) == {"7", "2"}


def test_a_subset_without_a_class_is_refused_for_what_it_is(tmp_path: Path) -> None:
    images = tuple(Record(f"{c}{i}", f"{c}/{i}.png", c) for c in "abc" for i in range(9))
    manifest, table = Manifest(images, Path()), tmp_path / "two.csv"
    table.write_text("".join(f"{r.id}\n" for r in images if r.label != "c"))
    settings = SplitSettings(subset_csv=table, folds=3)
    with pytest.raises(InputError, match=r"two\.csv to name images of every class.* none of 'c'"):
        make_splits(manifest, {r.id: r.id for r in images}, settings, 0)


def official(tmp_path: Path, names: list[str]) -> dict[str, str]:
    parts = ["train", "val", "test", "train", "val", "test"]
    # neighbouring images are of different classes
    lines = [f"{name},{part}" for name, part in zip(names, parts, strict=True)]
    (tmp_path / "parts.csv").write_text("\n".join(["ID,part", *lines]) + "\n")
    settings = SplitSettings(official_csv=tmp_path / "parts.csv", official_part_column="part")
    manifest = numbered()
    return dict(official_parts(manifest, {key: key for key in manifest.ids}, settings, 0))


EXPECTED = {"1#0": "train", "1#2": "train", "2": "val", "3": "test",
            "6": "train", "7": "val", "8": "test"}  # fmt: skip


@pytest.mark.parametrize("by", ["id", "path", "file"])
def test_official_values_reach_the_images_they_name(tmp_path: Path, by: str) -> None:
    names = {"id": list(FILES), "path": [f"im/{f}" for f in FILES.values()],
             "file": list(FILES.values())}  # fmt: skip
    assert official(tmp_path, names[by]) == EXPECTED


def test_an_official_value_of_another_image_is_not_taken_by_the_stem(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"1 are missing there, first '8'"):
        official(tmp_path, ["1", "2", "3", "6", "7", "nobody"])
