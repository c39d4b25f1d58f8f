"""The routes: the right numbers, one sentence for every refusal, nothing kept, nobody named."""

from __future__ import annotations

import base64
import io
import json
import logging
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
import uvicorn
from page_server import free_port
from PIL import Image

from sonobalance.config import ServiceSettings
from sonobalance.data.images import read_upload
from sonobalance.service import decoding
from sonobalance.service.access import Access
from sonobalance.service.app import make_app
from sonobalance.service.service import Service

FORM = {"content-type": "multipart/form-data"}
PATIENT = "MUELLER_ANNA_19561231"


def expected(predictor, content):
    return predictor.answers(predictor.squares([read_upload(content)[0]]))[0]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "GIF"])
def test_the_numbers_are_those_of_the_bundle(client, predictor, png, kind):
    content = png(kind=kind)
    answer = expected(predictor, content)
    for sent in ({"content": content}, {"files": {"file": ("a", content)}}):
        found = client.post("/predict", **sent)
        assert found.status_code == 200
        page = found.json()
        assert page["probabilities"] == pytest.approx(answer.probabilities, abs=1e-5)
        assert page["predicted"] == answer.predicted
        assert page["conformal"] == list(answer.conformal)
        assert page["image"] == {"width": 80, "height": 60, "frames": 1}
        assert "not a medical device" in page["notice"]


def test_dicom(client, predictor):
    pydicom = pytest.importorskip("pydicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.UltrasoundImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = pydicom.Dataset()
    data.file_meta, data.SOPClassUID = meta, meta.MediaStorageSOPClassUID
    data.SOPInstanceUID, data.Modality, data.PatientName = "1.2.3", "US", PATIENT
    data.Rows, data.Columns, data.SamplesPerPixel = 40, 50, 1
    data.PhotometricInterpretation, data.PixelRepresentation = "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)
    data.PixelData = pixels.tobytes()
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    found = client.post("/predict?preview=true", content=buffer.getvalue())
    answer = predictor.answers(predictor.squares([pixels]))[0]
    assert found.json()["probabilities"] == pytest.approx(answer.probabilities, abs=1e-5)
    assert PATIENT not in found.text
    assert (pixels_of(found.json()["preview"]) == pixels).all()


def pixels_of(url):
    head, data = url.split(",", 1)
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_every_map_lies_over_the_image(client, png):
    model = client.get("/model").json()
    assert {"grad-cam", "attention-gate"} <= set(model["methods"])
    for method in model["methods"]:
        found = client.post("/explain", params={"method": method}, content=png()).json()
        drawn = pixels_of(found["png"])
        assert drawn.shape == (60, 80, 4)
        assert drawn[..., 3].max() == 255
        assert found["low"] < found["high"]


def test_the_colour_is_the_sign_and_the_opacity_the_strength(client, png):
    found = client.post("/explain?method=attention-gate", content=png()).json()
    drawn = pixels_of(found["png"]).astype(int)
    warm = drawn[..., 0] > drawn[..., 2]
    peak = max(abs(found["low"]), abs(found["high"]))
    assert found["low"] < 0 < found["high"]
    assert drawn[warm][:, 3].max() == pytest.approx(255 * found["high"] / peak, abs=1)
    assert drawn[~warm][:, 3].max() == pytest.approx(-255 * found["low"] / peak, abs=1)


def test_the_explained_class_can_be_chosen(client, png):
    maps = [
        client.post("/explain", params={"target": name}, content=png()).json()
        for name in ("benign", "malignant")
    ]
    assert [page["target"] for page in maps] == ["benign", "malignant"]
    assert maps[0]["png"] != maps[1]["png"]


@pytest.mark.parametrize(
    ("path", "sent", "status", "words"),
    [
        ("/predict", {"content": b"no image"}, 422, "known format"),
        ("/predict", {"content": b""}, 422, "empty"),
        ("/predict", {"content": b"x" * (17 * 2**20)}, 413, "at most 16 MiB"),
        ("/predict", {"files": {"other": b"x"}}, 400, "one field"),
        ("/predict", {"content": b"x", "headers": FORM}, 400, "form"),
        ("/predict?neighbours=9", {"content": b"x"}, 422, "neighbours"),
        ("/predict?preview=perhaps", {"content": b"x"}, 422, "preview"),
        ("/explain?method=magic", {"content": b"x"}, 422, "grad-cam"),
        ("/explain?target=cat", {"content": b"x"}, 422, "benign"),
        ("/nowhere", {"content": b"x"}, 404, "Not Found"),
        ("/model", {"content": b"x"}, 405, "Method"),
    ],
)  # fmt: skip
def test_every_refusal_is_one_sentence(client, path, sent, status, words):
    found = client.post(path, **sent)
    assert found.status_code == status
    detail = found.json()["detail"]
    assert words in detail
    assert "\n" not in detail


def test_a_body_without_length_is_counted_too(client):
    def endless():
        for _ in range(40):
            yield bytes(2**20)

    assert client.post("/predict", content=endless()).status_code == 413


def test_too_many_pixels_are_refused_by_the_header(client):
    buffer = io.BytesIO()
    Image.new("1", (9000, 9000)).save(buffer, "PNG")
    found = client.post("/predict", content=buffer.getvalue())
    assert found.status_code == 422
    assert "20 megapixels" in found.json()["detail"]


def test_a_strange_image_is_refused(client, predictor, png):
    kept = predictor.reference
    object.__setattr__(predictor, "reference", replace(kept, limit=0.0))
    try:
        page = client.post("/predict", content=png()).json()
    finally:
        object.__setattr__(predictor, "reference", kept)
    assert page["refused"] is True
    assert page["predicted"] is None
    assert page["sentence"].startswith("Not answered")


def test_a_coloured_picture_is_refused(client, predictor):
    """A bundle that finds every grey image familiar and judges by colour alone."""
    kept, calm = predictor.stranger, SimpleNamespace(
        scores=lambda features, _: np.zeros(len(features)), colour_scores=np.asarray
    )  # fmt: skip
    object.__setattr__(predictor, "stranger", calm)
    try:
        found = {}
        for name, colour in (("grey", (90, 90, 90)), ("red", (200, 40, 40))):
            buffer = io.BytesIO()
            Image.new("RGB", (80, 60), colour).save(buffer, "PNG")
            found[name] = client.post("/predict", content=buffer.getvalue()).json()
    finally:
        object.__setattr__(predictor, "stranger", kept)
    assert [found[name]["refused"] for name in ("grey", "red")] == [False, True]
    assert found["red"]["distance"] == 1.0


def test_health_ready_model_metrics_and_pages(client, png):
    assert client.get("/health").json() == {"status": "alive"}
    assert client.post("/predict", content=png()).status_code == 200  # the decoder has started
    assert client.get("/ready").json() == {"status": "ready"}
    model = client.get("/model").json()
    assert model["description"]["classes"] == ["benign", "malignant", "normal"]
    assert model["examples"] is False
    assert model["generator"] is False
    client.post("/predict", content=png())
    text = client.get("/metrics").text
    assert 'sonobalance_requests_total{route="/predict",status="200"}' in text
    assert "process_resident_memory_bytes" in text
    for path in ("/", "/docs", "/static/app.js", "/static/style.css"):
        found = client.get(path)
        assert found.status_code == 200
        assert "http://" not in found.text.replace("http://127.0.0.1", "").replace(
            "http://www.w3.org", ""
        ).replace("http://…", "")
        assert "https://" not in found.text
    assert "not a medical device" in client.get("/").text


def test_every_answer_forbids_foreign_content(client):
    for path in ("/", "/model", "/nowhere"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_the_document_names_every_route_and_refusal(client):
    page = client.get("/openapi.json").json()
    assert {"/predict", "/explain", "/model", "/metrics", "/health", "/ready"} <= set(page["paths"])
    predict = page["paths"]["/predict"]["post"]
    assert "multipart/form-data" in predict["requestBody"]["content"]
    assert {"200", "401", "413", "422", "429", "503"} <= set(predict["responses"])
    assert "HTTPValidationError" not in json.dumps(page)


def test_no_upload_touches_the_disk(client, png):
    """An audit hook sees every file that this process opens for writing."""
    opened: list[object] = []
    watching = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event == "open" and isinstance(arguments[1], str):
            if set(arguments[1]) & set("wxa+"):
                opened.append(arguments[0])
        elif watching and event in {"tempfile.mkstemp", "os.mkdir"}:
            opened.append(event)

    sys.addaudithook(hook)
    large = png(2000, 2500)
    assert len(large) > 2**22
    for sent in ({"content": large}, {"files": {"file": (PATIENT, large)}}):
        assert client.post("/predict", **sent).status_code == 200
    assert decoding.decode_upload(large, 32, 50.0, preview=True).preview  # a decoder's own work
    watching = False
    assert opened == []


def test_nothing_identifying_is_logged(client, png, caplog):
    with caplog.at_level(logging.DEBUG, logger="sonobalance"):
        client.post("/predict", files={"file": (f"{PATIENT}.png", png())})
        client.post(f"/predict?name={PATIENT}", content=png())
        client.get(f"/{PATIENT}")
        client.post("/predict", content=PATIENT.encode(), headers={"x-patient": PATIENT})
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("sonobalance")]
    assert len(lines) == 4
    assert not any("MUELLER" in line or "testclient" in line for line in lines)
    assert lines[2].startswith("GET other 404")


@contextmanager
def served(app):
    """The address of a real server in this process."""
    server = uvicorn.Server(uvicorn.Config(app, port=free_port(), log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{server.config.port}"
    finally:
        server.should_exit = True
        thread.join(60)


def test_an_unexpected_error_says_nothing_about_the_image(
    predictor, png, caplog, capfd, monkeypatch
):
    """The server's own loggers stand on stderr and do not pass on what they are told."""

    def fails(*_: object) -> None:
        raise RuntimeError(PATIENT)

    made = Service(predictor, ServiceSettings(decoders=1), Access(None))
    monkeypatch.setattr(predictor.__class__, "answers_to", fails)
    with caplog.at_level(logging.DEBUG), served(make_app(made)) as address:
        found = httpx.post(f"{address}/predict", content=png(), timeout=60)
    assert found.status_code == 500
    assert "nothing about the image" in found.json()["detail"]
    told = caplog.text + "".join(capfd.readouterr())
    assert PATIENT not in told
    assert "Traceback" not in told
    assert "unexpected RuntimeError" in told
    assert "POST /predict 500" in told


def test_a_decoder_that_fails_unexpectedly_keeps_the_message_to_itself(monkeypatch):
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError(PATIENT)

    monkeypatch.setattr(decoding, "read_upload", fails)
    said = decoding.decode_upload(b"x", 32, 1, False)
    assert said == "Expected an image, but decoding it failed (RuntimeError)."
