"""Folders become the manifest that a hand count gives; what is unusable is listed."""

import unicodedata
from collections import Counter

import numpy as np
import pytest
from made_up_folders import AUTO, BUSI, busi, draw, index, kinds, refused, write_index
from PIL import Image

from sonobalance.config import DataSettings
from sonobalance.data.images import read_mask
from sonobalance.data.loading import load_images
from sonobalance.data.manifest import read_manifest
from sonobalance.data.sources import index_folder
from sonobalance.data.verify import spread
from sonobalance.files import sha256_of


def test_busi_layout(tmp_path):
    root = busi(tmp_path)
    draw(root / "benign" / "benign (2)_mask_1.png", value=255)
    manifest, skipped = index(root)
    assert not skipped
    assert manifest.counts == {"benign": 3, "malignant": 3, "normal": 3}
    by_id = {r.id: r for r in manifest}
    record = by_id["benign/benign (2)"]
    assert record.masks == ("benign/benign (2)_mask.png", "benign/benign (2)_mask_1.png")
    assert (record.width, record.height, record.source) == (24, 20, "busi")
    assert record.sha256 == sha256_of(root / record.path)
    assert all(len(r.masks) == 1 for r in manifest if r is not record)


def test_the_same_folder_gives_the_same_bytes(tmp_path):
    root = busi(tmp_path / "data")
    for name in ("a.csv", "b.csv"):
        index(root)[0].write(tmp_path / name)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    again = read_manifest(tmp_path / "a.csv", root)
    assert again == index(root)[0]
    assert [r.path for r in again] == sorted(r.path for r in again)


def test_unusable_files_are_listed_and_the_rest_is_used(tmp_path):
    root = busi(tmp_path)
    (root / "benign" / "empty.png").write_bytes(b"")
    (root / "benign" / "text.png").write_text("no image")
    whole = (root / "benign" / "benign (1).png").read_bytes()
    (root / "malignant" / "cut.png").write_bytes(whole[:-60])
    draw(root / "normal" / "dot.png", size=(1, 1))
    draw(root / "normal" / "lost_mask.png")
    draw(root / "loose.png")
    (root / "normal" / "photo.heic").write_bytes(b"ftyp")
    (root / "normal" / "gone.png").symlink_to(root / "nowhere.png")
    draw(root / "malignant" / "malignant (1)_mask.png", size=(20, 24))
    (root / "malignant" / "malignant (2)_mask.png").write_bytes(b"")
    manifest, skipped = index(root)
    assert manifest.counts == {"benign": 3, "malignant": 3, "normal": 3}
    assert kinds(skipped) == {
        "benign/empty.png": "broken", "benign/text.png": "broken", "malignant/cut.png": "broken",
        "normal/dot.png": "tiny", "normal/lost_mask.png": "mask", "loose.png": "unlabelled",
        "normal/photo.heic": "unsupported", "normal/gone.png": "missing",
        "malignant/malignant (1)_mask.png": "mask", "malignant/malignant (2)_mask.png": "mask",
    }  # fmt: skip
    assert all(s.reason.endswith(".") and "\n" not in s.reason for s in skipped)
    masks = {r.id: len(r.masks) for r in manifest if r.label == "malignant"}
    assert sorted(masks.values()) == [0, 0, 1]


def test_hidden_files_system_folders_and_runs_are_passed_over(tmp_path):
    root = busi(tmp_path)
    draw(root / "__MACOSX" / "a.png")
    draw(root / ".cache" / "a.png")
    draw(root / "runs" / "synthesis" / "a.png")
    (root / "runs" / "run.json").write_text("{}")
    for run in ("benchmark/base", "all my runs/first", "all my runs/second"):
        draw(root / run / "maps" / "a.png")
        (root / run / "run.json").write_text("{}")
    (root / "benchmark" / "benchmark.json").write_text("{}")
    draw(root / "benign" / "._benign (1).png")
    (root / "benign" / "Thumbs.db").write_bytes(b"x")
    (root / "README.md").write_text("x")
    manifest, skipped = index(root)
    assert len(manifest) == 9
    assert not skipped


def test_ids_keep_the_suffix_only_where_two_would_clash(tmp_path):
    root = busi(tmp_path)
    draw(root / "benign" / "benign (1).jpg")
    ids = [r.id for r in index(root)[0] if r.label == "benign"]
    assert ids == ["benign/benign (1).jpg", "benign/benign (1).png", "benign/benign (2)",
                   "benign/benign (3)"]  # fmt: skip


def test_links_are_followed_once_and_may_leave_the_folder(tmp_path):
    root = busi(tmp_path / "data")
    elsewhere = draw(tmp_path / "elsewhere" / "far.png")
    (root / "benign" / "far.png").symlink_to(elsewhere)
    (root / "benign" / "more").symlink_to(elsewhere.parent)
    (root / "benign" / "loop").symlink_to(root / "benign")
    paths = [r.path for r in index(root)[0] if "far" in r.path]
    assert paths == ["benign/far.png", "benign/more/far.png"]


def test_plain_class_folders_with_given_split_and_patients(tmp_path):
    for part in ("train", "test"):
        for name in ("cyst", "solid"):
            for i in range(3):
                draw(tmp_path / part / name / f"{part}{i:02d}_left.jpg")
    manifest, _ = index(tmp_path, patient_pattern=r"([a-z]+\d+)_")
    assert manifest.counts == {"cyst": 6, "solid": 6}
    assert {r.source for r in manifest} == {"folders"}
    assert manifest.records[0].patient == "test00"


def test_a_pattern_that_finds_no_patient_is_refused_and_a_partial_one_is_told_of(tmp_path, capsys):
    root = busi(tmp_path)
    refused(root, "matches none, such as 'benign/", patient_pattern="P(d+)")
    index(root, patient_pattern=r"(benign \(\d+\))")
    told = " ".join(capsys.readouterr().err.split())
    assert "finds no patient in 6 of 9 images, such as 'malignant/" in told


@pytest.mark.parametrize("odd", ["train", "masks"])
def test_parts_and_masks_beside_class_folders_are_no_classes(tmp_path, odd):
    root = busi(tmp_path)
    for i in range(3):
        draw(root / odd / "benign" / f"{i}.png")
    refused(root, f"folder per class in .*{odd} stands beside benign, malignant, normal; move")


def test_a_class_may_be_called_test(tmp_path):
    for name in ("control", "test"):
        for i in range(3):
            draw(tmp_path / name / "images" / f"{name}{i}.png")
    assert index(tmp_path)[0].counts == {"control": 3, "test": 3}


def test_another_mask_is_another_manifest(tmp_path):
    root = busi(tmp_path)
    before = index(root)[0]
    (changed,) = (r for r in before if r.id == "malignant/malignant (1)")
    draw(root / changed.masks[0], value=0)
    after = index(root)[0]
    assert [a.id for a, b in zip(before, after, strict=True) if a != b] == [changed.id]


def test_masks_in_a_folder_of_their_own(tmp_path):
    for name in ("cyst", "solid"):
        for i in range(3):
            draw(tmp_path / name / "images" / f"{i}.png")
            draw(tmp_path / name / "masks" / f"{i}.png", value=1)
    manifest, _ = index(tmp_path)
    assert len(manifest) == 6
    assert manifest.records[0].masks == ("cyst/masks/0.png",)


def test_a_clip_gives_evenly_spread_frames_of_one_patient(tmp_path):
    root = busi(tmp_path)
    frames = [Image.new("L", (24, 20), 10 * i) for i in range(20)]
    frames[0].save(root / "benign" / "clip.gif", save_all=True, append_images=frames[1:])
    clip = [r for r in index(root, frames_per_clip=4)[0] if "clip" in r.path]
    assert [r.frame for r in clip] == [2, 7, 12, 17]
    assert [r.id for r in clip] == [f"benign/clip#{i}" for i in (2, 7, 12, 17)]
    assert {r.patient for r in clip} == {"benign/clip"}
    assert [r.id for r in index(root, frames_per_clip=1)[0] if "clip" in r.id] == ["benign/clip"]


@pytest.mark.parametrize(("total", "wanted"), [(1, 3), (3, 3), (10, 1), (10, 3), (100, 7)])
def test_spread_frames_are_distinct_and_centred(total, wanted):
    frames = list(spread(total, wanted))
    assert len(set(frames)) == min(total, wanted)
    assert frames[0] == total - 1 - frames[-1] or abs(frames[0] + frames[-1] - total) <= 1


def test_unusable_sources_are_refused_in_one_sentence(tmp_path):
    refused(tmp_path / "missing", "there is none")
    refused(tmp_path / ("x" * 300), "there is none")
    (tmp_path / "note.txt").write_text("x")
    refused(tmp_path / "note.txt", "another kind of file")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "folder per class")
    draw(tmp_path / "loose" / "a.png")
    refused(tmp_path / "loose", "folder per class")
    refused(busi(tmp_path / "one", classes=("benign",)), "at least two classes")
    draw(tmp_path / "pairs" / "images" / "a.png")
    draw(tmp_path / "pairs" / "masks" / "a.png")
    refused(tmp_path / "pairs", "images, masks.*index CSV")
    refused(tmp_path / "empty", "CSV or Parquet", layout="csv")
    (tmp_path / "bad.csv").write_bytes(b'path,label\n"a\0\xff')
    refused(tmp_path / "bad.csv", "bad.csv")


def test_an_empty_class_is_named(tmp_path):
    root = busi(tmp_path)
    (root / "hollow").mkdir()
    refused(root, "class folder .*hollow")
    (root / "hollow" / "notes.txt").write_text("x")
    refused(root, "class folder .*hollow")


def test_a_class_of_broken_images_or_too_few_is_named(tmp_path):
    root = busi(tmp_path)
    for i in range(3):
        (root / "normal" / f"normal ({i + 1}).png").write_bytes(b"")
    refused(root, r"'normal'.*got none.*empty")
    draw(root / "normal" / "normal (1).png")
    refused(root, r"'normal'.*got 1;")
    for i in range(5):
        draw(root / "normal" / f"p7_{i}.png")
    assert len(index(root)[0]) == 12
    refused(root, r"'normal'.*got 2;", patient_pattern="(p7)_")


def test_a_pattern_that_is_none_is_refused():
    with pytest.raises(ValueError, match="patient_pattern"):
        DataSettings(patient_pattern="(")


@pytest.mark.shared
@pytest.mark.skipif(not BUSI.is_dir(), reason="the real BUSI is not beside the checkout")
def test_the_real_busi():
    manifest, skipped = index_folder(BUSI, AUTO)
    assert not skipped
    assert manifest.counts == {"benign": 437, "malignant": 210, "normal": 133}
    assert Counter(len(r.masks) for r in manifest) == {1: 763, 2: 16, 3: 1}
    by_id = {r.id: r for r in manifest}
    for number in (4, 54):  # whose second masks are RGBA
        record = by_id[f"benign/benign ({number})"]
        size = record.height, record.width
        parts = [read_mask([path], *size) for path in manifest.mask_files(record)]
        assert all(0 < part.mean() < 0.5 for part in parts)
        assert np.array_equal(read_mask(manifest.mask_files(record), *size), parts[0] | parts[1])


def stack(path, *frames):
    """A TIFF of (H, W) uint8 frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=rest)
    return path


def lesions(n, side=32):
    """Masks of `n` frames; the lesion of frame f fills row f."""
    return np.eye(n, side, dtype=np.uint8)[:, :, None].repeat(side, 2) * 255


def clips(root, frames=4):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        for i in range(3):
            stack(root / name / f"{i}.tif", *rng.integers(0, 256, (frames, 32, 32), np.uint8))
            stack(root / name / f"{i}_mask.tif", *lesions(frames))
    return root


def test_each_frame_of_a_clip_has_its_own_frame_of_the_mask(tmp_path):
    manifest, skipped = index(clips(tmp_path))
    assert not skipped
    assert {r.frame for r in manifest} == {0, 2, 3}
    outlines = load_images(manifest, 32, manifest.classes, outlines=True).outlines
    for record, mask in zip(manifest, outlines.masks, strict=True):
        assert np.flatnonzero(mask[0].sum(1)).tolist() == [record.frame]


def test_one_mask_is_that_of_every_frame_and_another_number_is_left_out(tmp_path):
    clips(tmp_path)
    stack(tmp_path / "a" / "0_mask.tif", *lesions(1))
    stack(tmp_path / "a" / "1_mask.tif", *lesions(2))
    manifest, skipped = index(tmp_path)
    assert kinds(skipped) == {"a/1_mask.tif": "mask"}
    assert len(skipped) == 1
    assert "the 4 of its image, but it has 2" in skipped[0].reason
    assert {r.id.split("#")[0] for r in manifest if not r.masks} == {"a/1"}
    one = next(r for r in manifest if r.id == "a/0#3")
    assert read_mask(manifest.mask_files(one), 32, 32, 3)[0].all()


def test_pages_of_other_sizes_are_judged_one_by_one(tmp_path):
    clips(tmp_path)
    page = np.random.default_rng(1).integers(0, 256, (32, 32), np.uint8)
    stack(tmp_path / "a" / "0.tif", page, page[:20, :10], page[:, :16])
    stack(tmp_path / "a" / "0_mask.tif", *lesions(1))
    manifest, skipped = index(tmp_path)
    assert Counter((s.path, s.kind) for s in skipped) == Counter(
        [("a/0.tif", "tiny"), ("a/0_mask.tif", "mask")]
    )
    assert "Its frame 1 is 10 x 20 pixels" in skipped[0].reason
    pages = {r.id: (r.width, r.height, len(r.masks)) for r in manifest if r.path == "a/0.tif"}
    assert pages == {"a/0#0": (32, 32, 1), "a/0#2": (16, 32, 0)}
    load_images(manifest, 32, manifest.classes, outlines=True)


def test_one_name_in_two_normal_forms_is_one_class_and_one_patient(tmp_path):
    rows = []
    for i in range(6):
        form = "NFC" if i % 2 else "NFD"
        for label in ("bénin", "malin"):
            path = draw(tmp_path / f"{label[0]}{i}.png")
            named = [unicodedata.normalize(form, text) for text in (label, f"Zoé{i // 2}{label}")]
            rows.append([path.name, *named, ""])
    write_index(tmp_path, rows)
    manifest, _ = index(tmp_path)
    assert manifest.counts == {"bénin": 6, "malin": 6}
    assert len({r.patient for r in manifest}) == 6


def test_reasons_name_no_folder_of_this_machine(tmp_path):
    busi(tmp_path)
    (tmp_path / "benign" / "broken.png").write_bytes(b"no image")
    [one] = index(tmp_path)[1]
    assert "benign/broken.png" in one.reason
    assert str(tmp_path) not in one.reason
