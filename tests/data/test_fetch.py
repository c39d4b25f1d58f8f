"""Fetching from a local server that drops, lies and changes; unpacking archives that attack."""

import hashlib
import io
import json
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from sonobalance.config import DataSettings
from sonobalance.data import catalogue
from sonobalance.data.catalogue import ENTRIES, Entry, notice
from sonobalance.data.download import download
from sonobalance.data.fetch import fetch, fetch_entry
from sonobalance.data.sources import index_folder
from sonobalance.data.unpack import unpack
from sonobalance.errors import InputError

RNG = np.random.default_rng(0)
NOISE = RNG.bytes(300_000)


class Site(ThreadingHTTPServer):
    """Serves one body; may cut answers short, ignore ranges, or answer with an error."""

    daemon_threads = True

    def __init__(self, body):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.tag = body, '"1"'
        self.cuts, self.errors, self.ranges = [], [], True
        self.asked = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/files/Set.zip?download=1"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        site = self.server
        wanted = self.headers.get("Range")
        site.asked.append(wanted)
        if site.errors:
            self.send_error(site.errors.pop(0))
            return
        start = 0
        if wanted and site.ranges and self.headers.get("If-Range") == site.tag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(site.body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("ETag", site.tag)
        self.send_header("Content-Length", str(len(site.body) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(site.body) - 1}/*")
        self.end_headers()
        end = start + site.cuts.pop(0) if site.cuts else None
        self.wfile.write(site.body[start:end])


@pytest.fixture
def site():
    server = Site(NOISE)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_whole_download(site, tmp_path):
    download(site.url, tmp_path / "new" / "a.bin")
    assert (tmp_path / "new" / "a.bin").read_bytes() == NOISE
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.bin"]


def test_an_interrupted_download_goes_on_where_it_stopped(site, tmp_path):
    site.cuts = [100_000, 70_000]
    download(site.url, tmp_path / "a.bin", pause_s=0)
    assert (tmp_path / "a.bin").read_bytes() == NOISE
    assert site.asked == [None, "bytes=100000-", "bytes=170000-"]


def test_a_later_call_goes_on_too(site, tmp_path):
    site.cuts = [50_000, 0, 0, 0, 0]
    with pytest.raises(InputError, match="go on from there"):
        download(site.url, tmp_path / "a.bin", pause_s=0)
    assert not (tmp_path / "a.bin").exists()
    download(site.url, tmp_path / "a.bin", pause_s=0)
    assert (tmp_path / "a.bin").read_bytes() == NOISE
    assert site.asked[-1] == "bytes=50000-"


@pytest.mark.parametrize("change", ["version", "no ranges", "shorter"])
def test_a_part_that_no_longer_fits_is_not_completed(site, tmp_path, change):
    site.cuts = [200_000, 0, 0, 0, 0]
    with pytest.raises(InputError):
        download(site.url, tmp_path / "a.bin", pause_s=0)
    if change == "version":
        site.body, site.tag = NOISE[::-1], '"2"'
    elif change == "no ranges":
        site.ranges = False
    else:
        site.body = NOISE[:1000]
    download(site.url, tmp_path / "a.bin", pause_s=0)
    assert (tmp_path / "a.bin").read_bytes() == site.body


def test_servers_that_refuse_or_fail(site, tmp_path):
    site.errors = [503, 503]
    download(site.url, tmp_path / "a.bin", pause_s=0)
    site.errors = [404]
    with pytest.raises(InputError, match="404"):
        download(site.url, tmp_path / "b.bin", pause_s=0)
    site.errors = [500] * 5
    with pytest.raises(InputError, match="500"):
        download(site.url, tmp_path / "b.bin", pause_s=0)
    with pytest.raises(InputError, match="http or https"):
        download(f"file://{tmp_path}/a.bin", tmp_path / "b.bin")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="Cannot write"):
        download(site.url, tmp_path / "file" / "b.bin")
    assert not list(tmp_path.glob("b.bin"))


def archive_of(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def image():
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (20, 20), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


PACKED = archive_of(
    {f"Wrapper/Set/{label}/{i}.png": image() for label in ("benign", "normal") for i in range(3)}
    | {"__MACOSX/Wrapper/._Set": b"x", "Wrapper/.DS_Store": b"x"}
)
ENTRY = Entry(
    name="set",
    title="A Set",
    page="https://example.org",
    url="",
    licence="CC0",
    citation="Someone 2020",
    counts={"benign": 3, "normal": 3},
    checksum="sha256:" + hashlib.sha256(PACKED).hexdigest(),
)


def test_fetching_a_set(site, tmp_path):
    site.body = PACKED
    entry = replace(ENTRY, url=site.url)
    content = fetch_entry(entry, tmp_path)
    assert content == tmp_path / "set" / "Set" / "Wrapper" / "Set"
    assert index_folder(content, DataSettings())[0].counts == entry.counts
    origin = json.loads((tmp_path / "set" / "origin.json").read_text())
    assert origin["sha256"] == hashlib.sha256(PACKED).hexdigest()
    assert (origin["licence"], origin["citation"], origin["url"]) == (
        "CC0", "Someone 2020", site.url,
    )  # fmt: skip
    assert sorted(p.name for p in (tmp_path / "set").iterdir()) == ["Set", "origin.json"]
    assert fetch_entry(entry, tmp_path) == content
    assert len(site.asked) == 1


def test_fetching_an_archive_of_arrays(site, tmp_path):
    buffer = io.BytesIO()
    arrays = {"train_images": RNG.integers(0, 256, (6, 28, 28), np.uint8)}
    np.savez(buffer, **arrays, train_labels=np.arange(6)[:, None] % 2)
    site.body = buffer.getvalue()
    entry = replace(ENTRY, counts={"0": 3, "1": 3}, checksum="")
    content = fetch_entry(entry, tmp_path, url=site.url.replace("Set.zip", "set.npz"))
    assert content == tmp_path / "set" / "set.npz"
    assert fetch_entry(entry, tmp_path) == content


def test_a_wrong_file_is_removed_and_a_wrong_count_reported(site, tmp_path):
    site.body = PACKED
    entry = replace(ENTRY, url=site.url)
    with pytest.raises(InputError, match="sha256"):
        fetch_entry(replace(entry, checksum="sha256:" + "0" * 64), tmp_path)
    assert not list((tmp_path / "set").iterdir())
    with pytest.raises(InputError, match=r"4 benign.*3 benign"):
        fetch_entry(replace(entry, counts={"benign": 4, "normal": 3}), tmp_path)
    assert not (tmp_path / "set" / "origin.json").exists()
    fetch_entry(entry, tmp_path)
    assert len(site.asked) == 3  # after each that was wrong it is fetched anew


def test_a_page_in_place_of_an_archive_is_not_kept(site, tmp_path):
    site.body = b"<html>log in first</html>"
    entry = replace(ENTRY, url=site.url)
    with pytest.raises(InputError):
        fetch_entry(entry, tmp_path)
    site.body = PACKED
    assert fetch_entry(entry, tmp_path).is_dir()


def link(target):
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    return info, target


@pytest.mark.parametrize(
    "attack",
    ["../out.png", "/etc/out.png", "a/../../out.png", "..\\out.png", "C:\\out.png", "link", "bomb",
     "bzip2", "cut", "text", "encrypted", "wrong checksum"],
)  # fmt: skip
def test_attacking_archives_leave_nothing(tmp_path, attack):
    path, folder = tmp_path / "a.zip", tmp_path / "inner" / "a"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good.png", b"good" * 50)
        if attack == "link":
            archive.writestr(*link("../../target"))
        elif attack == "bomb":
            archive.writestr("bomb", bytes(120 * 2**20))
        elif attack == "bzip2":  # unpacks in one go, whatever size it declares
            archive.writestr("image.png", b"x", zipfile.ZIP_BZIP2)
        elif attack not in {"cut", "text", "encrypted", "wrong checksum"}:
            archive.writestr(attack, b"x")
    data = bytearray(buffer.getvalue())
    if attack == "cut":
        del data[40:]
    elif attack == "text":
        data = bytearray(b"<html>Please log in</html>")
    elif attack == "encrypted":
        data[data.index(b"PK\x01\x02") + 8] |= 1
    elif attack == "wrong checksum":
        data[data.index(b"PK\x01\x02") + 16] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"safe to unpack|whole ZIP"):
        unpack(path, folder)
    assert not list((tmp_path / "inner").iterdir())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "inner"]


def test_every_entry_states_its_terms_first():
    assert len({entry.name for entry in ENTRIES}) == len(ENTRIES)
    for entry in ENTRIES:
        text = notice(entry.name)
        assert entry.licence in text
        assert entry.citation in text
        assert entry.page in text
        assert entry.page.startswith("https://")
        assert not entry.url or entry.url.startswith("https://")
        assert sum(entry.counts.values()) > 0


def test_unknown_sets_and_sets_without_an_address(tmp_path):
    with pytest.raises(InputError, match="did you mean 'busi'"):
        fetch("bussi", tmp_path)
    with pytest.raises(InputError, match="mendeley"):
        fetch("BUS-UCLM", tmp_path)
    assert catalogue.find("BUSI").name == "busi"
