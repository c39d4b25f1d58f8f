import errno
import hashlib
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonobalance import files
from sonobalance.errors import InputError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
FINITE = st.floats(allow_nan=False, allow_infinity=False)
SCALAR = st.none() | st.booleans() | st.integers() | FINITE
JSON = st.recursive(
    SCALAR | TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=8
)


def failing(number: int) -> Any:
    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


def only(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_failing_writer_leaves_the_old_file_and_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(ZeroDivisionError), files.atomic(path) as temporary:
        temporary.write_text(f"half of the new {1 // len('')}")
    assert path.read_text() == "old"
    assert only(tmp_path) == ["a.txt"]


def test_the_new_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    with files.atomic(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == path.parent
        assert not path.exists()
    assert path.read_text() == "new"
    assert only(path.parent) == ["a.txt"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~files.UMASK


def test_a_link_stays_and_what_it_names_is_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "deep" / "a.txt", tmp_path / "latest.txt"
    files.write_text(target, "old")
    link.symlink_to(target)
    files.write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert only(target.parent) == ["a.txt"]


def test_a_name_that_the_system_refuses_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose another --out"):
        files.write_text(tmp_path / ("x" * 300), "new")


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe, heard = tmp_path / "pipe", []
    os.mkfifo(pipe)
    listener = threading.Thread(target=lambda: heard.append(pipe.read_text()))
    listener.start()
    files.write_text(pipe, "all of it")
    listener.join(30)
    assert heard == ["all of it"]
    assert pipe.is_fifo()


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_one_sentence_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    target = (files.os, "fsync") if call == "fsync" else (Path, "replace")
    with monkeypatch.context() as patch:
        patch.setattr(*target, failing(errno.ENOSPC))
        with pytest.raises(InputError, match="disk is full"):
            files.write_text(path, "new")
    assert path.read_text() == "old"
    assert only(tmp_path) == ["a.txt"]


def test_a_disk_that_fills_while_writing_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", failing(errno.ENOSPC))
        with pytest.raises(InputError, match="disk is full"):
            files.write_json(path, {"a": 1})
    assert only(tmp_path) == []


def test_a_log_on_a_full_device_is_one_sentence() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, which only Linux has")
    with pytest.raises(InputError, match="disk is full"):
        files.append_line(Path("/dev/full"), {"step": 1})


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another --out"):
        files.write_text(tmp_path / "file" / "a.txt", "x")


@given(JSON)
def test_json_round_trip(value: Any) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        files.write_json(path, value)
        assert files.read_json(path) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_refuses_what_is_no_number_and_keeps_the_old(tmp_path: Path, value: float) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, [1])
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(path, [value])
    assert files.read_json(path) == [1]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}"])
def test_what_is_no_json_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json"):
        files.read_json(path)
    with pytest.raises(InputError, match="there is none"):
        files.read_json(tmp_path / "b.json")


def test_a_log_reads_back_and_drops_the_line_of_a_killed_writer(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    assert files.read_lines(path) == []
    rows = [{"step": i, "loss": i / 3} for i in range(4)]
    for row in rows:
        files.append_line(path, row)
    with path.open("a") as handle:
        handle.write('{"step": 4, "lo')
    assert files.read_lines(path) == rows


def test_a_resumed_log_has_each_row_once(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for step in range(5):
        files.append_line(path, {"step": step, "run": 1})
    with path.open("a") as handle:
        handle.write('{"step": 5, "ru')  # killed here; the last checkpoint is of step 2
    files.keep_lines(path, "step", 2)
    for step in range(3, 7):
        files.append_line(path, {"step": step, "run": 2})
    read = files.read_lines(path)
    assert [row["step"] for row in read] == list(range(7))
    assert [row["run"] for row in read] == [1, 1, 1, 2, 2, 2, 2]


def test_a_damaged_line_inside_a_log_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 0}\n{"step"\n{"step": 2}\n')
    with pytest.raises(InputError, match=r"log\.jsonl"):
        files.read_lines(path)


def test_keeping_lines_of_no_log_makes_an_empty_one(tmp_path: Path) -> None:
    files.keep_lines(tmp_path / "log.jsonl", "step", 3)
    assert files.read_lines(tmp_path / "log.jsonl") == []


def test_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    content = json.dumps(list(range(1000))).encode()
    (tmp_path / "a").write_bytes(content)
    assert files.sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_a_tree_counts_names_that_are_not_text_and_files_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9.png")
    odd.write_bytes(b"one")
    seen = {files.tree_digest(tmp_path)}
    odd.write_bytes(b"two")
    seen.add(files.tree_digest(tmp_path))
    monkeypatch.setattr(Path, "open", failing(errno.EACCES))
    seen.add(files.tree_digest(tmp_path))
    odd.rename(tmp_path / os.fsdecode(b"th\xe9.png"))
    seen.add(files.tree_digest(tmp_path))
    assert len(seen) == 4
