"""From candidates to records: every image and mask is decoded once, measured and hashed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path, PurePosixPath

from sonobalance.config import DataSettings
from sonobalance.data import dicom, patients
from sonobalance.data.candidates import Candidate, Found, Kind, Skipped
from sonobalance.data.images import image_shape, read_gray, read_mask
from sonobalance.data.manifest import Record
from sonobalance.data.raster import says_synthetic
from sonobalance.data.scan import exists
from sonobalance.errors import InputError
from sonobalance.files import digest_of, sha256_of
from sonobalance.progress import track

SYNTHETIC = (
    "Its own text says that it is synthetic; such an image might end in VAL or TEST (promise P2)."
)

Size = tuple[int, int]  # height and width, pixels


@dataclass
class Verification:
    """Opens candidates one by one; collects records and what was left out.

    Attributes:
        root: the folder that paths are relative to.
        source: name of the reader.
        settings: which images are usable.
        secret: key of the patient hash; empty while no DICOM file was met.
        hashes: path → hex digest, so that a file of many frames is hashed once.
        same: pairs of keys of one patient: the source's, and the pseudonym of a DICOM file.
    """

    root: Path
    source: str
    settings: DataSettings
    secret: bytes = b""
    hashes: dict[str, str] = field(default_factory=dict)
    same: list[tuple[str, str]] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def add(self, candidate: Candidate) -> None:
        """Verify one candidate (with its id); nothing of a damaged file is kept."""
        path = self.root / candidate.path
        try:
            if dicom.is_dicom(path):
                self._add_dicom(candidate)
            elif says_synthetic(path):
                self.skipped.append(Skipped(candidate.path, SYNTHETIC, "synthetic"))
            else:
                self.records += self._frames(candidate)
        except InputError as error:
            kind: Kind = "broken" if exists(path) else "missing"
            self.skipped.append(Skipped(candidate.path, str(error), kind))

    def _add_dicom(self, candidate: Candidate) -> None:
        path = self.root / candidate.path
        tags = dicom.read_tags(path)
        if dicom.names_patient(candidate.path, tags):
            reason = "The path of a DICOM file names its patient; rename files and folders."
            self.skipped.append(Skipped("(withheld)", reason, "identifying"))
        elif tags.burnt_in and not self.settings.allow_burnt_in:
            reason = "Annotation is burnt in, by its header; clean it or set `data.allow_burnt_in`."
            self.skipped.append(Skipped(candidate.path, reason, "burnt-in"))
        else:
            self.secret = self.secret or patients.secret_of(path)
            pseudonym = patients.pseudonym(tags.patient, self.secret)
            patient = candidate.patient or pseudonym
            if patient != pseudonym and pseudonym:
                self.same.append((patient, pseudonym))
            device = candidate.device or tags.device
            known = self._frames(replace(candidate, patient=patient, device=device))
            self.records += [replace(r, mm_per_px=tags.mm_per_px) for r in known]

    def _frames(self, candidate: Candidate) -> list[Record]:
        path = self.root / candidate.path
        frames = image_shape(path, self.settings.max_megapixels).frames
        if candidate.frame is not None:
            wanted = [candidate.frame]
        else:
            wanted = list(spread(frames, self.settings.frames_per_clip))
        sizes = {frame: _size(path, frame) for frame in wanted}
        usable = {f: size for f, size in sizes.items() if self._is_large(candidate, f, size)}
        masks = self._masks(candidate, frames, usable)
        return [
            self._record(candidate, f, len(wanted) > 1, size, masks[f])
            for f, size in usable.items()
        ]

    def _is_large(self, candidate: Candidate, frame: int, size: Size) -> bool:
        height, width = size
        large = min(size) >= self.settings.min_side_px
        if not large:
            what = f"Its frame {frame}" if frame else "It"
            reason = (
                f"{what} is {width} x {height} pixels, "
                f"and its shorter side should be at least {self.settings.min_side_px}."
            )
            self.skipped.append(Skipped(candidate.path, reason, "tiny"))
        return large

    def _record(
        self, candidate: Candidate, frame: int, one_of_many: bool, size: Size,
        masks: tuple[str, ...],
    ) -> Record:  # fmt: skip
        path, (height, width) = self.root / candidate.path, size
        if candidate.path not in self.hashes:
            self.hashes[candidate.path] = sha256_of(path)
        return Record(
            id=f"{candidate.id}#{frame}" if one_of_many else candidate.id,
            path=candidate.path,
            label=candidate.label,
            patient=candidate.patient or (candidate.id if one_of_many else ""),
            masks=masks,
            frame=frame,
            source=self.source,
            sha256=self.hashes[candidate.path],
            width=width,
            height=height,
            device=candidate.device,
            masks_sha256=digest_of((m, self.root / m) for m in masks) if masks else "",
        )

    def _masks(
        self, candidate: Candidate, frames: int, sizes: Mapping[int, Size]
    ) -> dict[int, tuple[str, ...]]:
        """Frame → its usable masks."""
        usable: dict[int, tuple[str, ...]] = dict.fromkeys(sizes, ())
        reasons: dict[Skipped, None] = {}
        for mask, (frame, size) in product(candidate.masks, sizes.items()):
            try:
                _check_frames(self.root / mask, frames)
                read_mask([self.root / mask], *size, frame)
            except InputError as error:
                reasons[Skipped(mask, str(error), "mask")] = None
            else:
                usable[frame] += (mask,)
        self.skipped += reasons
        return usable


def _size(path: Path, frame: int) -> Size:
    height, width = read_gray(path, frame).shape
    return height, width


def _check_frames(mask: Path, frames: int) -> None:
    own = image_shape(mask).frames
    if own not in {1, frames}:
        raise InputError(
            f"Expected the mask {mask} to have one frame or the {frames} of its image, "
            f"but it has {own}; replace or remove it."
        )


def verify(found: Found, root: Path, settings: DataSettings) -> tuple[list[Record], list[Skipped]]:
    """Open every candidate; return the usable frames as records, and what was left out and why."""
    verification = Verification(root, found.source, settings)
    for candidate in track(with_ids(found.candidates), "indexing", len(found.candidates)):
        verification.add(candidate)
    return _one_key_each(verification.records, verification.same), verification.skipped


def _one_key_each(records: list[Record], same: list[tuple[str, str]]) -> list[Record]:
    """Unite keys of a patient whom the source names in some files only, and headers in others.

    Where it names every file of a pseudonym its word counts: sets may share one id in all headers.
    """
    used = {r.patient for r in records}
    names = patients.united((key, pseudonym) for key, pseudonym in same if pseudonym in used)
    return [replace(r, patient=names.get(r.patient, r.patient)) for r in records]


def with_ids(candidates: list[Candidate]) -> list[Candidate]:
    """Give every candidate an id: its own, or its path without suffix, or with it on a clash."""
    stems = Counter(_stem(c.path) for c in candidates if not c.id)
    return [
        c if c.id else replace(c, id=_inside(c.path) if stems[_stem(c.path)] > 1 else _stem(c.path))
        for c in candidates
    ]


def spread(total: int, wanted: int) -> range | list[int]:
    """Positions of `wanted` of `total` frames, evenly spaced; all of them when there are fewer."""
    if total <= wanted:
        return range(total)
    return [(2 * i + 1) * total // (2 * wanted) for i in range(wanted)]


def _stem(path: str) -> str:
    """The path without suffix, as the name of files: a step out of the root becomes `up`."""
    return _inside(str(PurePosixPath(path).with_suffix("")))


def _inside(path: str) -> str:
    return "/".join("up" if part == ".." else part for part in path.split("/"))
