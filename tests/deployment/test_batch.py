"""`predict BUNDLE PATHS`: every file gets a row, whatever the others are."""

from __future__ import annotations

import csv
import io
import json
import os

import numpy as np
import pytest
import torch
from made_up_bundle import SIDE, bundle_files
from PIL import Image

from sonobalance import api, cli
from sonobalance.classify.stranger import fit_stranger
from sonobalance.data.images import letterbox, read_gray
from sonobalance.deployment.archive import SUMS, sums_of
from sonobalance.deployment.batch import find_files, predict_files
from sonobalance.deployment.predictor import BundlePredictor
from sonobalance.deployment.strangers import FILE as STRANGER
from sonobalance.deployment.strangers import write_stranger
from sonobalance.errors import InputError


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("a/1.png", "a/b/2.jpg", "a/b/3.tif"):
        image = rng.integers(0, 256, (40 + len(name), 60), np.uint8)
        Image.fromarray(image).save(tmp_path / name)
    (tmp_path / "a" / "1_mask.png").write_bytes((tmp_path / "a" / "1.png").read_bytes())
    (tmp_path / "a" / "broken.png").write_bytes(b"no image")
    (tmp_path / "a" / "film.mp4").write_bytes(b"no image")
    (tmp_path / "a" / "notes.txt").write_text("no image")
    frames = [Image.fromarray(np.full((40, 40), 40 * i, np.uint8)) for i in range(5)]
    frames[0].save(tmp_path / "a" / "clip.gif", save_all=True, append_images=frames[1:])
    return tmp_path / "a"


def call(*words):
    with pytest.raises(SystemExit) as stop:
        cli.main([str(word) for word in words])
    return int(stop.value.code or 0)


def test_folders_are_searched_for_images_without_masks(folder):
    names = [path.name for path in find_files([folder])]
    assert names == ["1.png", "2.jpg", "3.tif", "broken.png", "clip.gif", "film.mp4"]
    assert find_files([folder / "notes.txt"]) == [folder / "notes.txt"]


def test_rows_equal_single_answers_whatever_the_batch(folder, predictor):
    files = find_files([folder])
    for size in (1, 3, 16):
        rows = list(predict_files(predictor, files, batch_size=size))
        assert [row.frame.path for row in rows] == [str(path) for path in files]
        for row in rows:
            if row.answer is None:
                assert row.frame.error
                continue
            gray = read_gray(next(p for p in files if str(p) == row.frame.path), row.frame.index)
            alone = predictor.answers(letterbox(gray, 32)[None])[0]
            assert row.answer.probabilities == pytest.approx(alone.probabilities, abs=1e-6)


def test_a_clip_gives_its_middle_frame_or_evenly_spaced_ones(folder, predictor):
    clip = [folder / "clip.gif"]
    assert [r.frame.index for r in predict_files(predictor, clip)] == [2]
    rows = list(predict_files(predictor, clip, frames_per_clip=5))
    assert [r.frame.index for r in rows] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("masks", ["masks", "Masks"])
def test_masks_directly_below_the_folder_are_passed_over(tmp_path, masks):
    for name in ("images/1.png", f"{masks}/1.png", f"{masks}/deep/2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / name)
    assert find_files([tmp_path]) == [tmp_path / "images" / "1.png"]
    assert len(find_files([tmp_path / masks])) == 2


def test_every_image_of_an_archive_gets_a_row(tmp_path, predictor):
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)
    archive = tmp_path / "set.npz"
    parts = {"train": images[:12], "test": images[12:]}
    arrays = {f"{k}_images": v for k, v in parts.items()}
    np.savez(archive, **arrays, **{f"{k}_labels": np.zeros((len(v), 1)) for k, v in parts.items()})
    assert find_files([tmp_path]) == [archive]
    rows = list(predict_files(predictor, [archive], batch_size=3))
    assert [row.frame.index for row in rows] == list(range(20))
    assert all(row.answer for row in rows)
    assert np.array_equal(rows[13].frame.square, letterbox(images[13], SIDE))
    archive.write_bytes(b"no archive")
    (broken,) = predict_files(predictor, [archive])
    assert broken.frame.error


def test_the_table_on_standard_output(folder, whole, capsys, predictor):
    assert call("predict", whole, folder) == 3
    captured = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(captured.out)))
    assert [bool(row["error"]) for row in rows] == [False, False, False, True, False, True]
    assert sum(float(rows[0][f"p_{name}"]) for name in predictor.classes) == pytest.approx(1)
    assert "4 answered, 0 refused" in captured.err
    assert "2 could not be read" in captured.err
    assert "not a medical device" in captured.err


def test_csv_and_json_lines_hold_the_same_numbers(folder, whole, tmp_path, capsys):
    out = tmp_path / "predictions.csv"
    assert call("predict", f"{whole}.zip", folder / "1.png", folder / "b", "--out", out) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert call("predict", whole, folder / "1.png", folder / "b", "--layout", "jsonl") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    with out.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row, line in zip(rows, lines, strict=True):
        assert row["predicted"] == (line["predicted"] or "")
        for name, value in line["probabilities"].items():
            assert float(row[f"p_{name}"]) == value


def test_a_name_that_is_no_text_does_not_stop_the_rest(folder, whole, tmp_path):
    (folder / "b" / os.fsdecode(b"m\xfcller.png")).write_bytes((folder / "1.png").read_bytes())
    out = tmp_path / "predictions.csv"
    assert call("predict", whole, folder / "b", "--out", out) == 0
    rows = csv.DictReader(io.StringIO(out.read_text()))
    names = [row["path"].rpartition("/")[2] for row in rows]
    assert names == ["2.jpg", "3.tif", "m\\udcfcller.png"]


def test_nothing_readable_is_bad_input_and_leaves_no_file(folder, whole, tmp_path, capsys):
    out = tmp_path / "predictions.csv"
    assert call("predict", whole, folder / "broken.png", "--out", out) == cli.BAD_INPUT
    said = " ".join(capsys.readouterr().err.split())
    assert "none of the 1 could be. The first: Expected an image at" in said
    assert not out.exists()


@pytest.mark.parametrize("words", [(), ("nowhere.png",)])
def test_bad_input_is_one_sentence(whole, words, capsys):
    assert call("predict", whole, *words) == cli.BAD_INPUT
    assert capsys.readouterr().err.startswith("sonobalance: Expected")


def test_what_is_neither_bundle_nor_run_is_named(tmp_path):
    with pytest.raises(InputError, match="run folder"):
        api.predict(tmp_path, tmp_path)


def test_verify_says_so(whole, capsys):
    assert call("verify", whole) == 0
    assert "every file is as it was written" in " ".join(capsys.readouterr().err.split())
    (whole.parent / "empty").mkdir()
    assert call("verify", whole.parent / "empty") == cli.BAD_INPUT


def test_a_coloured_file_is_refused_and_its_grey_twin_is_not(tmp_path, predictor):
    rng = np.random.default_rng(0)
    usual = rng.normal(110, 20, (60, SIDE, SIDE)).clip(70, 180).astype(np.uint8)
    pixels, seen = torch.from_numpy(usual)[:, None], predictor.outputs(usual).features
    stranger = fit_stranger(seen[:40], pixels[:40], seen[40:], pixels[40:])
    files = bundle_files() | {STRANGER: write_stranger(stranger)}
    asked = BundlePredictor.of_files(files | {SUMS: sums_of(files)}, tmp_path)
    grey = np.repeat(usual[0][:, :, None], 3, 2).astype(np.int16)
    Image.fromarray(grey.astype(np.uint8)).save(tmp_path / "grey.png")
    tinted = (grey + np.array([60, -19, -60])).astype(np.uint8)  # of the same luma
    Image.fromarray(tinted).save(tmp_path / "tinted.png")
    difference = read_gray(tmp_path / "tinted.png").astype(int) - usual[0]
    assert abs(difference).max() <= 1
    rows = list(predict_files(asked, [tmp_path / "grey.png", tmp_path / "tinted.png"]))
    assert [row.answer.refused for row in rows] == [False, True]
