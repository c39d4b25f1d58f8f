"""Groups of images that belong together: one patient, one file's bytes, or near-duplicates."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from sonobalance.data.manifest import Manifest


class UnionFind:
    """Disjoint sets of things that are named once they are joined."""

    def __init__(self, members: Iterable[Hashable]) -> None:
        self._parent: dict[Hashable, Hashable] = {m: m for m in members}
        self._size: dict[Hashable, int] = dict.fromkeys(self._parent, 1)

    def find(self, member: Hashable) -> Hashable:
        """The member that stands for the set of `member`."""
        root = member
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[member] != root:
            self._parent[member], member = root, self._parent[member]
        return root

    def join(self, a: Hashable, b: Hashable) -> None:
        """Unite the sets of two members."""
        first, second = self.find(a), self.find(b)
        if first != second:
            self._parent[second] = first
            self._size[first] += self._size[second]

    def size(self, member: Hashable) -> int:
        """Number of members in the set of `member`."""
        return self._size[self.find(member)]


def related(manifest: Manifest) -> UnionFind:
    """Images joined by what the manifest knows: same patient, same bytes and frame."""
    sets = UnionFind(r.id for r in manifest)
    first: dict[tuple[str, str], str] = {}
    for r in manifest:
        frame = f"{r.sha256}#{r.frame}" if r.sha256 else ""
        for kind, key in (("patient", r.patient), ("bytes", frame)):
            if key:
                sets.join(first.setdefault((kind, key), r.id), r.id)
    return sets


def name_groups(manifest: Manifest, sets: UnionFind) -> dict[str, str]:
    """Image id → group name `g0001`, `g0002`, ... in the order of the manifest."""
    digits = max(4, len(str(len(manifest))))
    names: dict[Hashable, str] = {}
    return {
        r.id: names.setdefault(sets.find(r.id), f"g{len(names) + 1:0{digits}d}") for r in manifest
    }


def group_images(manifest: Manifest, links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Group name of each image: patients, copies and linked near-duplicates kept together.

    Args:
        manifest: the images.
        links: pairs of ids that belong together, such as near-duplicates.

    Returns:
        Image id → group name, every image once, numbered in the manifest's order.
    """
    return name_groups(manifest, _joined(related(manifest), links))


def group_copies(manifest: Manifest, links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The same of linked images alone, whatever patient they show: images of one lesion."""
    return name_groups(manifest, _joined(UnionFind(r.id for r in manifest), links))


def _joined(sets: UnionFind, links: Iterable[tuple[str, str]]) -> UnionFind:
    for a, b in links:
        sets.join(a, b)
    return sets
