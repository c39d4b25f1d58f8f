"""An image in memory gives the pixels of the same file, and is refused for the same reasons."""

import io

import numpy as np
import pytest
from PIL import Image
from test_fuzz import sources

from sonobalance.data.images import read_gray, read_upload
from sonobalance.errors import InputError

KINDS = range(14)


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_equals_the_file(tmp_path, kind):
    suffix, content = sources()[kind]
    path = tmp_path / f"image{suffix}"
    path.write_bytes(content)
    pixels, shape = read_upload(content)
    assert (pixels == read_gray(path, shape.frames // 2)).all()
    assert pixels.shape == (shape.height, shape.width)


def test_the_middle_frame_is_taken_unless_another_is_asked_for():
    frames = [Image.fromarray(np.full((20, 30), 10 * i, np.uint8)) for i in range(5)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "TIFF", save_all=True, append_images=frames[1:])
    assert read_upload(buffer.getvalue())[0].max() == 20
    assert read_upload(buffer.getvalue(), 4)[0].max() == 40
    with pytest.raises(InputError, match="fewer"):
        read_upload(buffer.getvalue(), 5)


@pytest.mark.parametrize("content", [b"", b"hello", bytes(128) + b"DICM", bytes(200)])
def test_what_is_no_image_gets_one_sentence(content):
    with pytest.raises(InputError, match="the upload"):
        read_upload(content)


def test_too_many_pixels_are_refused_by_the_header():
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((1100, 1000), np.uint8)).save(buffer, "PNG")
    with pytest.raises(InputError, match="1000 x 1100"):
        read_upload(buffer.getvalue(), max_megapixels=1)


def test_deflated_dicom_is_refused_before_it_is_inflated():
    pydicom = pytest.importorskip("pydicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.UltrasoundImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = pydicom.Dataset()
    data.file_meta, data.SOPClassUID = meta, pydicom.uid.UltrasoundImageStorage
    data.SOPInstanceUID, data.Rows = "1.2.3", 4
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    with pytest.raises(InputError, match="deflated"):
        read_upload(buffer.getvalue())
