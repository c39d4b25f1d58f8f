"""The exported set: names, index, datasheet, Croissant, loaders that run, no way back to VAL."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonobalance.config import DataSettings
from sonobalance.data.manifest import Manifest, Record
from sonobalance.data.sources import index_folder
from sonobalance.data.split import Splits
from sonobalance.errors import InputError, StaleError
from sonobalance.stages import STAGES
from sonobalance.synthesis.balanced_set import plan_set, write_set
from sonobalance.synthesis.export_set import Wish, export_set
from sonobalance.synthesis.image_folders import find_images
from sonobalance.synthesis.regenerate import regenerate

DEFAULT = {"layout": "folders", "real": "copy", "parts": "train", "every_round": True,
           "drawn": False, "licence": "", "name": "toy set"}  # fmt: skip


def export(splits, run_folder, out, **changes):
    return export_set(
        splits, run_folder / "synthesis", out, Wish(**(DEFAULT | changes)), "2026-01-02"
    )


def rows_of(folder):
    with (folder / "index.csv").open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def exported(splits, run_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "set"
    export(splits, run_folder, out)
    return out


def test_names_are_busis_and_tell_synthetic_images(exported, grown):
    rows = rows_of(exported)
    real = [r for r in rows if r["origin"] == "real"]
    made = [r for r in rows if r["origin"] == "synthetic"]
    assert len(real) == 20
    assert len(made) == len(grown.growth.manifest) > 0
    assert real[0]["path"] == "benign/benign (1).png"
    assert real[0]["masks"] == "benign/benign (1)_mask.png"
    assert made[0]["path"] == f"{made[0]['label']}/{made[0]['label']} (synthetic 1).png"
    assert {r["part"] for r in rows} == {"train"}
    for row in rows:
        with Image.open(exported / row["path"]) as image:
            assert (image.info.get("synthetic") == "true") == (row["origin"] == "synthetic")


def test_the_folder_in_which_one_stands_is_a_folder(splits, run_folder, tmp_path, monkeypatch):
    (tmp_path / "new").mkdir()
    monkeypatch.chdir(tmp_path / "new")
    export(splits, run_folder, Path())
    assert rows_of(tmp_path / "new")


def test_a_synthesis_that_was_cut_off_is_not_exported(splits, run_folder, tmp_path):
    copy = shutil.copytree(run_folder, tmp_path / "run")
    record = json.loads((copy / "run.json").read_text())
    outputs = dict.fromkeys(STAGES["synthesize"].writes)
    record["stages"]["synthesize"] = {"status": "started", "outputs": outputs}
    (copy / "run.json").write_text(json.dumps(record))
    with pytest.raises(StaleError, match="cut off; run `synthesize` again"):
        export(splits, copy, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_all_parts_keep_synthetic_images_in_train(splits, run_folder, tmp_path):
    export(splits, run_folder, tmp_path / "set", parts="all", real="link", layout="index")
    rows = rows_of(tmp_path / "set")
    assert {r["part"] for r in rows if r["origin"] == "synthetic"} == {"train"}
    assert {r["part"] for r in rows} == {"train", "val", "test"}
    link = tmp_path / "set" / next(r["path"] for r in rows if r["part"] == "val")
    assert link.is_symlink()
    assert link.read_bytes() == (splits.manifest.root / "benign/unseen0.png").read_bytes()
    made = next(r["path"] for r in rows if r["origin"] == "synthetic")
    assert Path(made).name.startswith("synthetic-r")
    assert not (tmp_path / "set" / made).is_symlink()


def test_the_datasheet_says_what_how_and_from_which_data(exported, grown):
    text = (exported / "DATASHEET.md").read_text(encoding="utf-8")
    assert grown.growth.document["hashes"]["train"] in text
    assert "Licence of the source set: Not stated" in text
    assert "| malignant | 8 |" in text
    assert grown.growth.document["sentence"] in text
    for chapter in ("What it is", "From which data", "How it was made", "Known limits", "Uses"):
        assert f"## {chapter}" in text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of rdflib below mlcroissant
def test_croissant_is_valid_and_reads_the_index(exported):
    croissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    dataset = croissant.Dataset(jsonld=exported / "croissant.json")
    assert not dataset.metadata.issues.errors
    found = [r["images/path"] for r in dataset.records("images")]
    assert [p.decode() for p in found] == [r["path"] for r in rows_of(exported)]


def test_croissant_names_columns_that_exist(exported):
    document = json.loads((exported / "croissant.json").read_text())
    columns = set(rows_of(exported)[0])
    fields = document["recordSet"][0]["field"]
    assert {f["source"]["extract"]["column"] for f in fields} <= columns
    assert document["conformsTo"] == "http://mlcommons.org/croissant/1.0"


@pytest.mark.parametrize(
    ("loader", "library", "words"),
    [
        ("load_torchvision.py", "torchvision", "(8, 1, 224, 224)"),
        ("load_monai.py", "monai", "(8, 1, 224, 224)"),
        ("load_datasets.py", "datasets", "ClassLabel"),
    ],
)
def test_loader_examples_run_beside_the_set(exported, loader, library, words, tmp_path):
    if library != "torchvision":
        pytest.importorskip(library, reason=f"{library} is not installed")
    done = subprocess.run(
        [sys.executable, str(exported / loader)], capture_output=True, text=True, check=False,
        cwd=tmp_path, env={"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert words in done.stdout


def test_an_exported_image_can_be_made_again(exported, grown):
    import torch

    key = grown.growth.manifest.ids[0]
    remade = regenerate(exported, key, torch.device("cpu"), grown.bundle)
    assert remade.kept.name.endswith("(synthetic 1).png")
    assert remade.different == 0


def test_index_leaves_synthetic_images_out(exported):
    manifest, skipped = index_folder(exported / "index.csv", DataSettings(mask_column="masks"))
    assert len(manifest) == 20
    assert all(r.origin == "real" for r in manifest)
    kinds = [s.kind for s in skipped if s.kind == "synthetic"]
    assert len(kinds) == len(rows_of(exported)) - 20
    folders, again = index_folder(exported, DataSettings(layout="folders"))
    assert len(folders) == 20
    assert sum(s.kind == "synthetic" for s in again) == len(kinds)


def test_the_audit_of_copies_sees_the_synthetic_ones_only(exported):
    assert len(find_images(exported, synthetic_only=True)) == len(rows_of(exported)) - 20


def test_of_a_clip_only_the_frame_that_is_an_image_is_taken(tmp_path):
    """And each frame is its own: of a file with many images none stands for another."""
    frames = [Image.fromarray(np.full((40, 30), 60 * i, np.uint8)) for i in range(3)]
    (tmp_path / "real").mkdir()
    frames[0].save(tmp_path / "real" / "clip.tiff", save_all=True, append_images=frames[1:])
    records = tuple(
        Record(f"clip#{i}", "clip.tiff", "benign", sha256=f"clip{i}", frame=i) for i in range(3)
    )
    part = dict.fromkeys((r.id for r in records), "train")
    clip = Splits(
        Manifest(records, tmp_path / "real"), part, dict.fromkeys(part, "p"),
        dict.fromkeys(part, -1),
    )  # fmt: skip
    items = plan_set(clip, Manifest((), tmp_path), parts=("train",), layout="folders", real="copy")
    write_set(items, tmp_path / "set", "copy")
    assert len(items) == 3
    for i, item in enumerate(items):
        with Image.open(tmp_path / "set" / item.record.path) as image:
            assert image.format == "PNG"
            assert np.array_equal(np.asarray(image), np.full((40, 30), 60 * i))


def test_a_full_folder_is_left_alone(exported, splits, run_folder):
    before = sorted(exported.rglob("*"))
    with pytest.raises(InputError, match="new or empty"):
        export(splits, run_folder, exported)
    assert sorted(exported.rglob("*")) == before
