"""A classifier never tests images that one of its ancestors learnt from."""

from pathlib import Path

import pytest

from sonobalance.classify.ancestry import check_ancestry, read_ancestry, write_ancestry
from sonobalance.data.manifest import Manifest, Record
from sonobalance.errors import InputError, LeakError


def manifest(*hashes):
    return Manifest(tuple(Record(f"id-{h}", f"{h}.png", "x", sha256=h) for h in hashes), Path())


def test_what_an_ancestor_saw_is_never_tested(tmp_path):
    write_ancestry(tmp_path / "old", [manifest("a", "b"), manifest("c")], None)
    write_ancestry(tmp_path / "young", [manifest("d")], tmp_path / "old")
    assert read_ancestry(tmp_path / "young") == {"a", "b", "c", "d"}
    check_ancestry(tmp_path / "young", [manifest("e"), manifest("f")])
    with pytest.raises(LeakError, match="was trained on 'id-c'"):
        check_ancestry(tmp_path / "young", [manifest("e"), manifest("f", "c")])


def archived(suffix, *frames):
    return Manifest(
        tuple(Record(f"id#{i}", f"all{suffix}", "x", frame=i, sha256="a") for i in frames), Path()
    )


def test_other_images_of_the_same_archive_may_test(tmp_path):
    write_ancestry(tmp_path / "new", [archived(".npz", 0, 2), manifest("b")])
    write_ancestry(tmp_path / "young", [archived(".npz", 5)], tmp_path / "new")
    assert (tmp_path / "young/trained_on.txt").read_text().split() == ["a#0", "a#2", "a#5", "b"]
    assert read_ancestry(tmp_path / "young") == {"a", "b"}
    check_ancestry(tmp_path / "young", [archived(".npz", 1, 3)])
    for frame in (0, 2, 5):
        with pytest.raises(LeakError, match=f"was trained on 'id#{frame}'"):
            check_ancestry(tmp_path / "young", [archived(".npz", frame)])


def test_a_hash_without_a_frame_stands_for_every_image_of_the_file(tmp_path):
    """So it was written before frames were, and so it is for clips, which show one patient."""
    (tmp_path / "trained_on.txt").write_text("a\n")
    write_ancestry(tmp_path / "young", [archived(".npz", 5)], tmp_path)
    write_ancestry(tmp_path / "clip", [archived(".gif", 5)])
    for folder, suffix in (
        (tmp_path, ".npz"),
        (tmp_path / "young", ".npz"),
        (tmp_path / "clip", ".gif"),
    ):
        with pytest.raises(LeakError, match="was trained on 'id#3'"):
            check_ancestry(folder, [archived(suffix, 3)])


def test_without_the_list_nothing_is_started(tmp_path):
    with pytest.raises(InputError, match="RUN/classifier/none"):
        check_ancestry(tmp_path, [manifest("a")])
