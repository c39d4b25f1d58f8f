import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonobalance.data.phantoms import KINDS, make_phantoms, phantom
from sonobalance.data.phantoms.acoustics import Scanner, Tissue, envelope, scan, transmission
from sonobalance.data.phantoms.generator import draw_patient, view
from sonobalance.data.phantoms.lesion import Lesion, draw_lesion, signed_distance
from sonobalance.data.phantoms.marks import burn_calipers, burn_text
from sonobalance.data.phantoms.plan import class_counts, draw_plan
from sonobalance.errors import InputError

SCANNER = Scanner(
    pulse_mm=0.2, beam_mm=0.3, focus_mm=20, focal_zone_mm=1e3, looks=1, tgc_db_per_mm=0.5,
    gain_db=-20, dynamic_range_db=60, noise_db=-200, gamma=1.0,
)  # fmt: skip


def uniform(attenuation: float = 0.5, side: int = 160) -> Tissue:
    ones = np.ones((side, side), np.float32)
    return Tissue(ones, 0 * ones, attenuation * ones, mm_per_px=0.2)


def disc(**changes: float) -> Lesion:
    values = {
        "x": 0.5, "y": 0.5, "width_mm": 10.0, "aspect": 0.5, "tilt": 0.0,
        "waves": np.zeros((2, 2)), "spicules": np.zeros((0, 3)), "echo_db": -20.0,
        "texture_db": 0.0, "capsule_db": -60.0, "halo_db": 0.0, "attenuation_db_per_mm": 0.0,
        "margin_mm": 0.2, "calcifications": 0,
    }  # fmt: skip
    return Lesion(**(values | changes))


def test_uniform_tissue_gives_rayleigh_speckle_of_unit_power() -> None:
    tissue = uniform(attenuation=0.5)
    echo = envelope(tissue, SCANNER, np.random.default_rng(0))
    # TGC (0.5 dB/mm) undoes the loss; Rayleigh: E|a|² = 1, mean over deviation = 1.913.
    assert np.mean(echo**2) == pytest.approx(1, abs=0.1)
    assert echo.mean() / echo.std() == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), abs=0.12)


def test_speckle_is_as_wide_as_the_point_spread_function() -> None:
    echo = envelope(uniform(), SCANNER, np.random.default_rng(1)) ** 2
    centred = echo - echo.mean()
    # Intensity of the convolved field correlates as exp(-d² / 2σ²): here σ = 1 px and 1.5 px.
    for axis, sigma_px in ((0, 1.0), (1, 1.5)):
        shifted = np.roll(centred, 2, axis)
        correlation = np.mean(centred * shifted) / np.mean(centred**2)
        assert correlation == pytest.approx(np.exp(-(2**2) / (2 * sigma_px**2)), abs=0.07)


def test_transmission_is_the_two_way_loss() -> None:
    tissue = uniform(attenuation=0.5)
    depth_mm = 100 * tissue.mm_per_px
    assert transmission(tissue)[99, 3] == pytest.approx(10 ** (-2 * 0.5 * depth_mm / 20), rel=1e-3)


@pytest.mark.parametrize(("excess", "sign"), [(0.4, -1), (-0.4, 1)])
def test_loss_inside_a_lesion_shadows_and_lack_of_it_enhances(excess: float, sign: int) -> None:
    tissue = uniform(attenuation=0.5)
    tissue.attenuation[40:80, 60:100] += excess
    image = scan(tissue, SCANNER, np.random.default_rng(2)).astype(float)
    behind, beside = image[90:, 65:95].mean(), image[90:, :50].mean()
    # 8 mm · 0.4 dB/mm · 2 = 6.4 dB of 60 dB: 27 grey levels.
    assert sign * (behind - beside) == pytest.approx(6.4 / 60 * 255, rel=0.25)


def test_an_ellipse_has_its_width_and_aspect() -> None:
    mm = np.arange(400, dtype=np.float32) * 0.1
    mask = signed_distance(disc(), mm[None, :], mm[:, None], (40.0, 40.0)) < 0
    rows, columns = np.nonzero(mask)
    assert (np.ptp(columns) + 1) * 0.1 == pytest.approx(10, abs=0.3)
    assert (np.ptp(rows) + 1) * 0.1 == pytest.approx(5, abs=0.3)
    assert mask.sum() * 0.01 == pytest.approx(np.pi * 5 * 2.5, rel=0.02)


def test_classes_differ_on_average_but_overlap() -> None:
    drawn = {
        kind: [draw_lesion(kind, np.random.default_rng(i)) for i in range(300)]
        for kind in ("benign", "malignant")
    }
    aspect = {kind: np.array([one.aspect for one in many]) for kind, many in drawn.items()}
    loss = {
        kind: np.array([one.attenuation_db_per_mm for one in many]) for kind, many in drawn.items()
    }
    assert aspect["benign"].mean() < 0.75
    assert aspect["malignant"].mean() > 0.9
    assert loss["benign"].mean() < 0
    assert loss["malignant"].mean() > 0.3
    # Some benign ones are taller than wide or cast a shadow, some malignant ones do not.
    assert 0.01 < (aspect["benign"] > 1).mean() < 0.2
    assert 0.2 < (aspect["malignant"] < 1).mean() < 0.8
    assert 0.1 < (loss["benign"] > 0).mean() < 0.5
    assert 0.01 < (loss["malignant"] < 0).mean() < 0.2
    smooth = np.mean([len(one.spicules) == 0 for one in drawn["malignant"]])
    assert 0.05 < smooth < 0.4


@pytest.mark.parametrize("kind", KINDS)
def test_phantom_is_seeded_and_has_the_mask_of_its_kind(kind: str) -> None:
    image, mask = phantom(kind, np.random.default_rng(3), 64)
    again, _ = phantom(kind, np.random.default_rng(3), 64)
    other, _ = phantom(kind, np.random.default_rng(4), 64)
    assert image.dtype == np.uint8
    assert image.shape == mask.shape
    assert mask.any() == (kind != "normal")
    np.testing.assert_array_equal(image, again)
    assert image.shape != other.shape or (image != other).any()
    assert 20 < image.mean() < 180
    assert image.std() > 10


def test_lesions_are_darker_than_their_surroundings() -> None:
    darker = 0
    for seed in range(12):
        image, mask = phantom("benign", np.random.default_rng(seed), 96)
        rows = np.nonzero(mask)[0]
        darker += image[mask].mean() < image[rows.min() : rows.max()][:, :5].mean()
    assert darker >= 10


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match="cystic"):
        phantom("cystic", np.random.default_rng(0), 64)


@pytest.mark.parametrize("images", [24, 60, 121, 780])
def test_plan_keeps_counts_numbers_and_views(images: int) -> None:
    items = draw_plan(images, seed=1)
    counts = Counter(i.label for i in items)
    assert len(items) == images
    assert counts == class_counts(images)
    for label, n in counts.items():
        assert sorted(i.number for i in items if i.label == label) == list(range(1, n + 1))
    originals = [i for i in items if not i.source]
    assert max(Counter(i.patient for i in originals).values()) <= 3
    assert len({(i.patient, i.view) for i in originals}) == len(originals)
    assert len({(i.patient, i.kind) for i in items}) == len({i.patient for i in items})


def test_class_shares_are_those_of_busi() -> None:
    assert class_counts(780) == {"benign": 437, "malignant": 211, "normal": 132}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantoms(tmp_path_factory.mktemp("set") / "phantoms", images=30, size_px=64, seed=5)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_index_and_truth_describe_the_files(made: Path) -> None:
    truth = json.loads((made / "truth.json").read_text())
    with (made / "index.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    files = {p.relative_to(made).as_posix() for p in made.rglob("*.png")}
    assert files == {r["path"] for r in rows} | {r["mask"] for r in rows}
    assert [r["path"] for r in rows] == [i["path"] for i in truth["images"]]
    assert len(rows) == 30
    for row in rows:
        image, mask = pixels(made / row["path"]), pixels(made / row["mask"])
        assert image.shape == mask.shape
        assert set(np.unique(mask)) <= {0, 255}
        if row["label"] == "normal":
            assert not mask.any()


def test_planted_copies_are_what_the_truth_says(made: Path) -> None:
    truth = json.loads((made / "truth.json").read_text())
    rows = {i["path"]: i for i in truth["images"]}
    assert {d["kind"] for d in truth["duplicates"]} == {"crop", "brightness", "flip", "calipers"}
    for planted in truth["duplicates"]:
        copy, source = pixels(made / planted["path"]), pixels(made / planted["source"])
        assert rows[planted["path"]]["patient"] == rows[planted["source"]]["patient"]
        if planted["kind"] == "flip":
            np.testing.assert_array_equal(copy, source[:, ::-1])
        elif planted["kind"] == "crop":
            assert copy.shape < source.shape
            windows = np.lib.stride_tricks.sliding_window_view(source, copy.shape)
            assert (windows == copy).all(axis=(2, 3)).any()
        elif planted["kind"] == "calipers":
            assert 0.5 < (copy == source).mean() < 1
        else:
            assert np.corrcoef(copy.ravel(), source.ravel())[0, 1] > 0.97


def test_one_label_conflict_and_the_copy_hides_behind_another_patient_key(made: Path) -> None:
    truth = json.loads((made / "truth.json").read_text())
    (conflict,) = truth["label_conflicts"]
    assert conflict["path"].split("/")[0] != conflict["source"].split("/")[0]
    with (made / "index.csv").open() as handle:
        patient = {r["path"]: r["patient"] for r in csv.DictReader(handle)}
    assert all(patient[d["path"]] != patient[d["source"]] for d in truth["duplicates"])


def test_marks_lie_in_their_boxes(made: Path) -> None:
    truth = json.loads((made / "truth.json").read_text())
    assert truth["marks"]
    for mark in truth["marks"]:
        image = pixels(made / mark["path"])
        x, y, width, height = (mark[key] for key in ("x", "y", "width", "height"))
        assert x >= 0
        assert y >= 0
        assert y + height <= image.shape[0]
        assert x + width <= image.shape[1]
        assert image[y : y + height, x : x + width].max() > 220


@pytest.mark.parametrize("kind", ["calipers", "text"])
def test_a_mark_changes_pixels_only_inside_its_box(kind: str) -> None:
    plain = np.full((60, 80), 60, np.uint8)
    mask = np.zeros_like(plain, bool)
    mask[20:40, 30:79] = True
    for seed in range(10):
        rng = np.random.default_rng(seed)
        marked, (x, y, width, height) = (
            burn_calipers(plain, mask) if kind == "calipers" else burn_text(plain, rng)
        )
        changed = marked != plain
        inside = changed[y : y + height, x : x + width]
        assert inside.sum() == changed.sum() > 10


def test_same_arguments_give_the_same_bytes_and_a_whole_set_is_left_alone(
    made: Path, tmp_path: Path
) -> None:
    again = make_phantoms(tmp_path / "again", images=30, size_px=64, seed=5)
    names = sorted(p.relative_to(made) for p in made.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    assert all((made / n).read_bytes() == (again / n).read_bytes() for n in names)
    before = (again / "truth.json").stat().st_mtime_ns
    make_phantoms(again, images=30, size_px=64, seed=5)
    assert (again / "truth.json").stat().st_mtime_ns == before


def test_a_folder_with_other_content_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"images=31.*but it holds phantoms of images=30"):
        make_phantoms(made, images=31, size_px=64, seed=5)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="something else"):
        make_phantoms(tmp_path, images=30, size_px=64)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_nothing_is_left_when_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise InputError("The disk is full.")

    monkeypatch.setattr("sonobalance.data.phantoms.dataset.write_png", full)
    with pytest.raises(InputError, match="full"):
        make_phantoms(tmp_path / "set", images=30, size_px=64)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot write"):
        make_phantoms(tmp_path / "file" / "set", images=30, size_px=64)


@pytest.mark.parametrize(("images", "size_px"), [(10, 64), (30, 8)])
def test_too_small_a_set_is_refused(tmp_path: Path, images: int, size_px: int) -> None:
    with pytest.raises(InputError, match="at least"):
        make_phantoms(tmp_path / "set", images=images, size_px=size_px)


def test_views_of_one_patient_look_alike_but_are_not_copies() -> None:
    patient = draw_patient("malignant", np.random.default_rng(0))
    (first, a), (second, b) = (view(patient, np.random.default_rng(i), 64) for i in (1, 2))
    assert first.shape == second.shape
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.95
    assert 0.5 < a.sum() / b.sum() < 2
