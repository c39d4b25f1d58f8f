"""Groups: patients, equal bytes and links are kept together; names are stable."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sonobalance.data.groups import group_images
from sonobalance.data.manifest import Manifest, Record

IDS = [f"i{k:02d}" for k in range(12)]


def manifest_of(patients: list[str], hashes: list[str] | None = None) -> Manifest:
    hashes = hashes or [""] * len(patients)
    records = tuple(
        Record(IDS[k], f"{IDS[k]}.png", "a", patient=p, sha256=h)
        for k, (p, h) in enumerate(zip(patients, hashes, strict=True))
    )
    return Manifest(records, Path())


def test_unrelated_images_stand_alone_and_are_numbered_in_order() -> None:
    assert group_images(manifest_of(["", "", ""]), []) == {
        "i00": "g0001", "i01": "g0002", "i02": "g0003",
    }  # fmt: skip


def test_a_patient_and_a_link_join_through_a_common_image() -> None:
    groups = group_images(manifest_of(["p", "", "p", ""]), [("i02", "i03")])
    assert groups["i00"] == groups["i02"] == groups["i03"] != groups["i01"]


def test_equal_bytes_join_but_frames_of_one_archive_do_not() -> None:
    assert len(set(group_images(manifest_of(["", ""], ["x", "x"]), []).values())) == 1
    frames = tuple(Record(f"f{k}", "a.npz", "a", frame=k, sha256="x") for k in range(3))
    assert len(set(group_images(Manifest(frames, Path()), []).values())) == 3


@given(
    st.lists(st.sampled_from(["", "p", "q", "r"]), min_size=12, max_size=12),
    st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(IDS)), max_size=10),
)
def test_groups_are_the_connected_components(
    patients: list[str], links: list[tuple[str, str]]
) -> None:
    groups = group_images(manifest_of(patients), links)
    neighbours = {key: {key} for key in IDS}
    for a, b in links:
        neighbours[a].add(b)
        neighbours[b].add(a)
    for a, p in zip(IDS, patients, strict=True):
        neighbours[a] |= {b for b, q in zip(IDS, patients, strict=True) if p and p == q}
    for start in IDS:
        reached, waiting = {start}, [start]
        while waiting:
            new = neighbours[waiting.pop()] - reached
            reached |= new
            waiting += new
        assert {key for key in IDS if groups[key] == groups[start]} == reached
