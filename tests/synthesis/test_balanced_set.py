"""Files of an exported set: any reader sees what this software sees, each under its own name."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sonobalance import BalancedDataset, export
from sonobalance.artefacts import splits_of
from sonobalance.data.cleaning import clean_marks
from sonobalance.data.images import letterbox, read_color, read_gray, read_mask, write_png
from sonobalance.data.manifest import Manifest, Record, read_manifest
from sonobalance.data.split import Splits
from sonobalance.errors import InputError
from sonobalance.runs import open_run
from sonobalance.synthesis.balanced_set import plan_set, write_set

GREY = np.arange(80 * 64, dtype=np.uint8).reshape(80, 64) // 2
LESION = np.zeros((80, 64), np.uint8)
LESION[20:40, 10:30] = 255


def turned(path):
    image = Image.fromarray(GREY)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(path.with_suffix(".jpg"), exif=exif)
    return path.with_suffix(".jpg")


def saved(path, image, **options):
    image.save(path, **options)
    return path


def says(key, text):
    info = PngInfo()
    info.add_text(key, text)
    return info


ODD = {
    "16 bits": lambda path: saved(path, Image.fromarray(GREY.astype(np.uint16) * 257)),
    "turned": turned,
    "alpha": lambda path: saved(path, Image.fromarray(np.dstack([GREY, GREY, GREY, LESION]))),
    "transparent grey": lambda path: saved(path, Image.fromarray(GREY), transparency=60),
    "text": lambda path: saved(path, Image.fromarray(GREY), pnginfo=says("Patient", "DOE JOHN")),
    "comment": lambda path: saved(
        path.with_suffix(".jpg"), Image.fromarray(GREY), comment=b"DOE JOHN"
    ),
    "description": lambda path: saved(
        path.with_suffix(".tif"), Image.fromarray(GREY), description="DOE JOHN"
    ),
}
PLAIN = {
    "grey": lambda path: saved(path, Image.fromarray(GREY)),
    "colour": lambda path: saved(path.with_suffix(".jpg"), Image.fromarray(np.dstack([GREY] * 3))),
}


def written(root, *records, layout="folders", real="copy"):
    ids = [r.id for r in records]
    splits = Splits(
        Manifest(records, root), dict.fromkeys(ids, "train"), dict.fromkeys(ids, "p"),
        dict.fromkeys(ids, -1),
    )  # fmt: skip
    items = plan_set(splits, Manifest((), root), ("train",), layout, real)
    return write_set(items, root / "set", real)


@pytest.mark.parametrize("real", ["copy", "link"])
@pytest.mark.parametrize("kind", ODD)
def test_what_readers_would_see_differently_is_written_anew(tmp_path, kind, real):
    source = ODD[kind](tmp_path / "a.png")
    made = written(tmp_path, Record("a", source.name, "x"), real=real)
    path = made.file(made.records[0])
    assert path.suffix == ".png"
    assert not path.is_symlink()
    with Image.open(path) as image:
        assert (image.mode, image.size) == ("L", (made.records[0].width, made.records[0].height))
        assert np.array_equal(np.asarray(image), read_gray(source))


@pytest.mark.parametrize("real", ["copy", "link"])
@pytest.mark.parametrize("kind", PLAIN)
def test_a_plain_file_is_handed_on_as_it_is(tmp_path, kind, real):
    source = PLAIN[kind](tmp_path / "a.png")
    made = written(tmp_path, Record("a", source.name, "x"), real=real)
    path = made.file(made.records[0])
    assert path.suffix == source.suffix
    assert path.is_symlink() == (real == "link")
    assert path.read_bytes() == source.read_bytes()


def test_ids_that_make_one_name_stay_apart(tmp_path):
    """Also where they differ in capitals only, and where a mask of another has the name."""
    ids = (
        "mass/benign_0",
        "mass_benign/0",
        "Mass/benign 1",
        "mass/Benign 1",
        "a&b",
        "a&b_mask",
        "c",
    )
    for i in range(len(ids)):
        write_png(tmp_path / f"{i}.png", np.full((8, 8), i, np.uint8))
    records = [
        Record(key, f"{i}.png", "x", masks=("0.png",) if key == "a&b" else ())
        for i, key in enumerate(ids)
    ]
    made = written(tmp_path, *records, layout="index")
    assert [int(read_gray(made.file(r))[0, 0]) for r in made] == list(range(len(ids)))
    names = {name.casefold() for r in made for name in (r.path, *r.masks)}
    assert len(names) == len(ids) + 1
    assert made.records[-1].path == "images/c.png"
    assert made.records[0].path.startswith("images/mass_benign_0-")


def test_nothing_is_written_over(tmp_path):
    write_png(tmp_path / "a.png", GREY)
    written(tmp_path, Record("a", "a.png", "x"))
    for real in ("copy", "link"):
        with pytest.raises(InputError, match="two are named"):
            written(tmp_path, Record("a", "a.png", "x"), real=real)


def dicom(path, pixels):
    pydicom = pytest.importorskip("pydicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.3.1"
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    page = pydicom.dataset.FileDataset(path, {}, file_meta=meta, preamble=bytes(128))
    page.PatientName, page.PatientID = "Secret^Name", "P1"
    page.Rows, page.Columns = pixels.shape
    page.SamplesPerPixel, page.PhotometricInterpretation = 1, "MONOCHROME2"
    page.BitsAllocated = page.BitsStored = 8
    page.HighBit, page.PixelRepresentation = 7, 0
    page.PixelData = pixels.tobytes()
    page.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize("real", ["copy", "link"])
def test_of_a_dicom_mask_only_the_pixels_are_taken(tmp_path, real):
    write_png(tmp_path / "a.png", GREY)
    dicom(tmp_path / "m.dcm", LESION)
    made = written(tmp_path, Record("a", "a.png", "x", masks=("m.dcm",)), real=real)
    (mask,) = made.mask_files(made.records[0])
    assert mask.name == "x (1)_mask.png"
    assert b"Secret" not in mask.read_bytes()
    assert np.array_equal(read_gray(mask), LESION)


def test_odd_masks_are_written_as_they_are_understood(tmp_path):
    write_png(tmp_path / "a.png", GREY)
    labels = Image.fromarray(LESION // 255).convert("P")
    labels.putpalette([0, 0, 0, 90, 0, 0])
    labels.save(tmp_path / "p.png")
    write_png(tmp_path / "m.png", LESION)
    record = Record("a", "a.png", "x", masks=("p.png", "m.png"))
    made = written(tmp_path, record)
    odd, plain = made.mask_files(made.records[0])
    assert np.array_equal(read_gray(odd), LESION)
    assert plain.read_bytes() == (tmp_path / "m.png").read_bytes()


def test_a_frame_of_a_clip_has_its_own_mask(tmp_path):
    def clip(name, frames):
        first, *rest = map(Image.fromarray, frames)
        first.save(tmp_path / name, save_all=True, append_images=rest)

    clip("c.tif", [GREY, GREY // 2])
    clip("m.tif", [LESION, LESION[::-1].copy()])
    frames = [Record(f"c#{i}", "c.tif", "x", masks=("m.tif",), frame=i) for i in range(2)]
    made = written(tmp_path, *frames)
    found = [read_mask(made.mask_files(r), 80, 64) for r in made]
    assert np.array_equal(found[0], LESION > 0)
    assert np.array_equal(found[1], LESION[::-1] > 0)


@pytest.fixture
def cleaning_run(run_folder, splits, tmp_path):
    """A run with `clean_marks` and a real image that has marks; its folder and that image."""
    rng = np.random.default_rng(5)
    speckle = cv2.GaussianBlur(rng.normal(size=(300, 380)), (0, 0), 2.2, sigmaY=1.0)
    image = np.clip(90 + speckle * 180, 0, 190).astype(np.uint8)
    cv2.putText(image, "LT AXILLA", (120, 150), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 250, 1)
    folder, real = tmp_path / "run", tmp_path / "real"
    shutil.copytree(run_folder, folder)
    shutil.copytree(splits.manifest.root, real)
    write_png(real / "benign/image0.png", image)
    write_png(real / "benign/image0_mask.png", np.zeros((300, 380), np.uint8))
    page = json.loads((folder / "run.json").read_text())
    page["source"], page["settings"]["clean_marks"] = str(real), True
    (folder / "run.json").write_text(json.dumps(page))
    assert (clean_marks(image) != image).any()
    return folder, image


def test_the_data_set_gives_real_images_as_the_networks_saw_them(cleaning_run):
    folder, image = cleaning_run
    data = BalancedDataset(folder, size_px=380, every_round=True)
    found = np.rint(data[data.ids.index("benign/0")][0][0].numpy() * 255)
    assert np.array_equal(found, letterbox(clean_marks(image), 380))


@pytest.mark.parametrize("real", ["copy", "link", "leave-out"])
def test_marks_do_not_tell_real_images_from_synthetic_ones(cleaning_run, tmp_path, real):
    folder, _ = cleaning_run
    out = export(folder, out=tmp_path / "set", real=real, parts="all", every_round=True)
    made, source = read_manifest(out / "index.csv", out), splits_of(open_run(folder)).manifest
    files = {r.id: source.file(r) for r in source}
    records = [r for r in made if r.origin == "real"]
    assert len(records) == (0 if real == "leave-out" else 24)
    for r in records:
        assert not made.file(r).is_symlink()
        assert np.array_equal(read_gray(made.file(r)), clean_marks(read_color(files[r.id])))
    for r in made:
        if r.origin == "synthetic":
            kept = next(Path(folder, "synthesis").rglob(f"{r.id}.png"))
            assert made.file(r).read_bytes() == kept.read_bytes()
    assert ("painted over" in (out / "DATASHEET.md").read_text()) == (real != "leave-out")
