"""DICOM: every photometric interpretation decodes to hand-computed values; nobody is named."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonobalance.config import DataSettings
from sonobalance.data.dicom import names_patient, read_tags
from sonobalance.data.images import image_shape, read_color, read_gray
from sonobalance.data.sources import index_folder
from sonobalance.errors import InputError

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.uid import (  # noqa: E402
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

NAME, KEY, BIRTH = "Plantedname^Zoe", "SECRETID4711", "19561231"
GREY = (np.arange(20 * 30) % 256).astype(np.uint8).reshape(20, 30)
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)


def write(path, pixels, photometric="MONOCHROME2", bits=8, syntax=ExplicitVRLittleEndian, **tags):
    """Write a DICOM file; `pixels` is (H, W[, 3]) or (F, H, W), or bytes when encapsulated."""
    frames = tags.pop("frames", None)
    shape = tags.pop("shape", None) or pixels.shape
    if frames:
        shape = shape[1:]
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    ds.SOPClassUID = UltrasoundMultiFrameImageStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.StudyInstanceUID = generate_uid()
    ds.Modality = "US"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = NAME, KEY, BIRTH
    ds.Rows, ds.Columns = shape[:2]
    ds.SamplesPerPixel = 3 if len(shape) == 3 else 1
    if ds.SamplesPerPixel == 3:
        ds.PlanarConfiguration = 0
    ds.PhotometricInterpretation = photometric
    ds.BitsAllocated = 8 if bits <= 8 else 16
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits - 1, 0
    if frames:
        ds.NumberOfFrames = frames
    data = pixels if isinstance(pixels, bytes) else pixels.tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    if syntax in {JPEGBaseline8Bit, JPEGLSLossless}:
        ds["PixelData"].is_undefined_length = True
    for name, value in tags.items():
        setattr(ds, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def test_grey_and_inverted_grey(tmp_path):
    assert np.array_equal(read_gray(write(tmp_path / "a.dcm", GREY)), GREY)
    inverted = write(tmp_path / "b.dcm", GREY, "MONOCHROME1")
    assert np.array_equal(read_gray(inverted), 255 - GREY)


def test_deep_grey_is_scaled_by_its_stored_bits(tmp_path):
    deep = (GREY.astype(np.uint16) * 16).astype(np.uint16)
    expected = np.rint(deep * 255.0 / 4095)
    assert np.array_equal(read_gray(write(tmp_path / "a.dcm", deep, bits=12)), expected)


def test_window_and_rescale_follow_the_standard(tmp_path):
    deep = np.arange(600, dtype=np.uint16).reshape(20, 30)
    path = write(tmp_path / "a.dcm", deep, bits=12, WindowCenter=300, WindowWidth=201,
                 RescaleSlope=2, RescaleIntercept=-100, RescaleType="US")  # fmt: skip
    x = deep * 2.0 - 100
    y = ((x - 299.5) / 200 + 0.5) * 255  # PS3.3 C.11.2.1.2.1
    assert np.abs(read_gray(path) - y.clip(0, 255)).max() <= 0.501


def test_rgb_in_both_planar_configurations(tmp_path):
    assert np.array_equal(read_color(write(tmp_path / "a.dcm", COLOUR, "RGB")), COLOUR)
    planes = np.ascontiguousarray(COLOUR.transpose(2, 0, 1)).tobytes()
    path = write(tmp_path / "b.dcm", planes, "RGB", shape=(20, 30, 3), PlanarConfiguration=1)
    assert np.array_equal(read_color(path), COLOUR)


def test_ybr_becomes_rgb(tmp_path):
    ybr = np.asarray(Image.fromarray(COLOUR).convert("YCbCr"))
    read = read_color(write(tmp_path / "a.dcm", ybr, "YBR_FULL")).astype(int)
    assert np.abs(read - COLOUR).max() <= 3
    buffer = io.BytesIO()
    smooth = np.asarray(Image.fromarray(COLOUR).resize((3, 2)).resize((30, 20)))
    Image.fromarray(smooth).save(buffer, "JPEG", quality=95, subsampling=1)
    path = write(tmp_path / "b.dcm", encapsulate([buffer.getvalue()]), "YBR_FULL_422",
                 syntax=JPEGBaseline8Bit, shape=(20, 30, 3))  # fmt: skip
    assert np.abs(read_color(path).astype(int) - smooth).max() <= 24


def test_palette(tmp_path):
    index = (GREY % 4).astype(np.uint8)
    ramp = np.array([0, 5000, 32768, 65535], np.uint16)
    tags = {}
    for name, table in zip(("Red", "Green", "Blue"), (ramp, ramp[::-1], ramp * 0), strict=True):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [4, 0, 16]
        tags[f"{name}PaletteColorLookupTableData"] = table.astype(np.uint16).tobytes()
    read = read_color(write(tmp_path / "a.dcm", index, "PALETTE COLOR", **tags))
    five, half = round(5000 * 255 / 65535), round(32768 * 255 / 65535)
    expected = np.array([[0, 255, 0], [five, half, 0], [half, five, 0], [255, 0, 0]])[index]
    assert np.array_equal(read, expected)


def study(root, **tags):
    """Two classes of three patients, a clip of 20 frames and a still each."""
    for label in ("benign", "malignant"):
        for i in range(3):
            key = f"{KEY}-{label}-{i}"
            loop = np.stack([GREY + k for k in range(20)]).astype(np.uint8)
            folder = root / label / f"case{i}"
            write(folder / "IM0001", loop, frames=20, PatientID=key, **tags)
            write(folder / "still.dcm", GREY, PatientID=key, **tags)
    return root


def test_a_tree_of_clips_and_stills(tmp_path):
    manifest, skipped = index_folder(study(tmp_path), DataSettings(frames_per_clip=4))
    assert not skipped
    assert manifest.counts == {"benign": 15, "malignant": 15}
    clip = [r for r in manifest if r.path == "benign/case0/IM0001"]
    assert [r.frame for r in clip] == [2, 7, 12, 17]
    assert int(read_gray(manifest.file(clip[1]), 7)[0, 0]) == 7
    assert len({r.patient for r in manifest}) == 6
    assert len({r.patient for r in manifest if "case0" in r.path and r.label == "benign"}) == 1


def test_region_calibration_is_kept_in_millimetres(tmp_path):
    region = Dataset()
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3  # cm
    region.PhysicalDeltaX = region.PhysicalDeltaY = 0.0077
    region.RegionLocationMinX0 = region.RegionLocationMinY0 = 0
    manifest, _ = index_folder(
        study(tmp_path, SequenceOfUltrasoundRegions=[region]), DataSettings()
    )
    assert {r.mm_per_px for r in manifest} == {0.077}


def text_of(folder):
    return b"\n".join(p.name.encode() + p.read_bytes() for p in folder.rglob("*") if p.is_file())


def test_nothing_identifying_is_written(tmp_path, monkeypatch):
    root = study(tmp_path / "data")
    broken = root / "benign" / "broken.dcm"
    broken.write_bytes((root / "benign" / "case0" / "still.dcm").read_bytes()[:-100])
    write(root / "benign" / "Plantedname_Zoe" / "a.dcm", GREY)
    write(root / "benign" / f"x_{BIRTH}.dcm", GREY)
    write(root / "malignant" / f"{KEY}.dcm", GREY)
    out = tmp_path / "out"
    out.mkdir()
    manifest, skipped = index_folder(root, DataSettings())
    manifest.write(out / "manifest.csv")
    (out / "skipped.json").write_text(json.dumps([[s.path, s.reason, s.kind] for s in skipped]))
    written = text_of(out).lower()
    for secret in ("plantedname", "zoe", KEY, BIRTH):
        assert secret.lower().encode() not in written, secret
    assert sorted(s.kind for s in skipped) == ["broken", *["identifying"] * 3]
    patients = {r.patient for r in manifest}
    assert index_folder(root, DataSettings())[0] == manifest
    monkeypatch.setenv("SONOBALANCE_PATIENT_KEY", "a secret of our own")
    assert patients.isdisjoint(r.patient for r in index_folder(root, DataSettings())[0])


@pytest.mark.parametrize(
    ("name", "key", "path", "named"),
    [
        ("Doe^Jane", "PAT-0001", "PAT 0001", True), ("Doe^Jane", "4711.22", "x_4711_22", True),
        ("Doe^Jane", "4711.22", "x_4711_223", False), ("Doe^Jane", "1", "doe2", True),
        ("LI^NA", "1", "Li_Na", True), ("LI^NA", "1", "nali", True), ("LI^NA", "7", "li", False),
        ("Wang^Wei=王^伟", "7", "王伟b", True), ("Wang^Wei", "7", "wangler", False),
        ("Doe^Jane", "12", "view-12", True), ("Doe^Jane", "12", "view12", False),
        ("Doe^Jane", "12", "view_123", False), ("Doe^Jane", "12", "view_012", False),
        ("Doe^Jane", "7", "on_1970-01-02", True), ("Anonymous", "anonymous", "anonymous", False),
        ("É", "7", "bénign", False), ("Müller^Eva", "7", "Mu\u0308ller", True),
        ("李^娜", "7", "图李娜2", True), ("李", "7", "行李", False),
        ("", "P017", "P017_2", False), ("P017", "P017", "P017_2", False),
    ],
)  # fmt: skip
def test_a_patient_is_found_in_a_path_however_the_words_are_set_apart(
    tmp_path, name, key, path, named
):
    tags = {"PatientName": name, "PatientID": key, "PatientBirthDate": "19700102"}
    if not name.isascii():
        tags["SpecificCharacterSet"] = "ISO_IR 192"
    read = read_tags(write(tmp_path / "a.dcm", GREY, **tags))
    assert names_patient(f"benign/{path}/a.dcm", read) is named


def test_of_a_set_without_names_the_studies_tell_patients_apart(tmp_path):
    for label in ("a", "b"):
        for i in range(3):
            tags = {"PatientID": "ANONYMOUS", "PatientName": "De-Identified"}
            study = {"PatientBirthDate": "", "StudyInstanceUID": f"1.2.{ord(label)}.{i}"}
            write(tmp_path / label / f"{i}.dcm", GREY, **tags, **study)
    assert len({r.patient for r in index_folder(tmp_path, DataSettings())[0]}) == 6


def test_a_patient_named_by_the_table_and_by_the_header_is_one(tmp_path):
    rows = ["path,label,patient"]
    for label in ("a", "b"):
        for i in range(3):
            for view in range(2):
                path = f"{label}{i}{view}.dcm"
                write(tmp_path / path, GREY, PatientID=f"{label}{i}")
                rows.append(f"{path},{label},{f'key-{label}{i}' if view else ''}")
    (tmp_path / "index.csv").write_text("\n".join(rows) + "\n")
    manifest, _ = index_folder(tmp_path, DataSettings())
    assert {r.patient for r in manifest} == {f"key-{label}{i}" for label in "ab" for i in range(3)}


def test_a_table_that_names_everybody_counts_where_headers_share_one_id(tmp_path):
    rows = ["path,label,patient"]
    for label in ("a", "b"):
        for i in range(3):
            write(tmp_path / f"{label}{i}.dcm", GREY, PatientID="0000", PatientName="")
            rows.append(f"{label}{i}.dcm,{label},key-{label}{i}")
    (tmp_path / "index.csv").write_text("\n".join(rows) + "\n")
    assert len({r.patient for r in index_folder(tmp_path, DataSettings())[0]}) == 6


def test_a_path_that_names_its_patient_is_withheld_wherever_the_file_lies(tmp_path):
    for label in ("a", "b"):
        for i in range(3):
            write(tmp_path / label / f"{i}.dcm", GREY, PatientID=f"{label}{i}")
    write(tmp_path / "Plantedname_Zoe.dcm", GREY)
    _, left_out = index_folder(tmp_path, DataSettings())
    assert [s.path for s in left_out] == ["(withheld)"]


@pytest.mark.parametrize(
    "tags", [{"WindowCenter": "", "WindowWidth": ""}, {"RescaleSlope": "", "RescaleIntercept": ""}]
)
def test_tags_may_be_there_and_empty(tmp_path, tags):
    assert np.array_equal(read_gray(write(tmp_path / "a.dcm", GREY, **tags)), GREY)


def test_a_pseudonym_may_stand_in_a_path(tmp_path):
    for label in ("a", "b"):
        for i in range(3):
            key = f"case{label}{i}"
            write(tmp_path / label / f"{key}.dcm", GREY, PatientID=key, PatientName=key)
    assert len(index_folder(tmp_path, DataSettings())[0]) == 6


def test_the_scanner_is_kept_unless_its_name_is_the_patients(tmp_path):
    for label in ("a", "b"):
        for i in range(3):
            model = "S3000" if label == "a" else KEY
            tags = {"Manufacturer": "Maker", "ManufacturerModelName": model}
            write(
                tmp_path / label / f"{i}.dcm",
                GREY,
                PatientID=KEY if i == 0 else f"p{label}{i}",
                **tags,
            )
    devices = {r.path: r.device for r in index_folder(tmp_path, DataSettings())[0]}
    assert devices["a/0.dcm"] == "Maker S3000"
    assert devices["b/0.dcm"] == ""


def test_burnt_in_annotation_is_honoured(tmp_path):
    root = study(tmp_path)
    write(root / "benign" / "marked.dcm", GREY, BurnedInAnnotation="YES")
    write(root / "benign" / "clean.dcm", GREY, BurnedInAnnotation="NO")
    manifest, skipped = index_folder(root, DataSettings(frames_per_clip=1))
    assert [(s.path, s.kind) for s in skipped] == [("benign/marked.dcm", "burnt-in")]
    assert len(manifest) == 13
    manifest, skipped = index_folder(root, DataSettings(frames_per_clip=1, allow_burnt_in=True))
    assert len(manifest) == 14
    assert not skipped


def test_dicom_that_cannot_be_used_is_refused(tmp_path):
    good = write(tmp_path / "a.dcm", GREY)
    bad = {
        "frame 1": lambda: read_gray(good, 1),
        "megapixels": lambda: image_shape(
            write(tmp_path / "b.dcm", GREY, Rows=60_000, Columns=60_000)
        ),
        "deflated": lambda: read_gray(
            write(tmp_path / "c.dcm", GREY, syntax=DeflatedExplicitVRLittleEndian)
        ),
        "damaged": lambda: read_gray(write(tmp_path / "d.dcm", GREY[:10], shape=(20, 30))),
    }
    for pattern, read in bad.items():
        with pytest.raises(InputError, match=pattern):
            read()
    report = pydicom.dcmread(good)
    for tag in ("Rows", "Columns", "PixelData"):
        delattr(report, tag)
    report.save_as(tmp_path / "report.dcm")
    with pytest.raises(InputError, match="without pixels"):
        read_gray(tmp_path / "report.dcm")
    path = write(tmp_path / "e.dcm", encapsulate([b"x" * 99]), syntax=JPEGLSLossless,
                 shape=(20, 30))  # fmt: skip
    with pytest.raises(InputError, match="pylibjpeg"):
        read_gray(path)
    (tmp_path / "text.dcm").write_text(NAME)
    with pytest.raises(InputError) as caught:
        read_gray(tmp_path / "text.dcm")
    assert "Plantedname" not in str(caught.value)


def test_without_pydicom_the_remedy_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.dcm", GREY)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match=r"sonobalance\[dicom\]"):
        read_gray(path)


def test_only_the_dicom_reader_knows_pydicom():
    package = Path(__file__).parents[2] / "src" / "sonobalance"
    users = [p.name for p in package.rglob("*.py") if "import pydicom" in p.read_text()]
    assert users == ["dicom.py"]
