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


def test_without_the_list_nothing_is_started(tmp_path):
    with pytest.raises(InputError, match="RUN/classifier/none"):
        check_ancestry(tmp_path, [manifest("a")])
