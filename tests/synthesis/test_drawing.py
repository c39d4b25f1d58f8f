"""A generator bundle: its files, images with and without gates, and each made again."""

import csv
import json
import shutil
from functools import partial

import numpy as np
import pytest
import torch
from growth_stubs import with_enlarger
from PIL import Image

import sonobalance
from sonobalance import cli
from sonobalance.data.images import read_gray
from sonobalance.data.manifest import read_manifest
from sonobalance.errors import InputError, SettingsError
from sonobalance.files import read_json
from sonobalance.synthesis import drawing
from sonobalance.synthesis.enlarger import (
    ENLARGER,
    enlarged_pixels,
    load_enlarger,
)
from sonobalance.synthesis.generator_bundle import open_generator_bundle, repeats_golden_sample
from sonobalance.synthesis.interpolation import interpolate
from sonobalance.synthesis.select import _candidate


def rows_of(path):
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_a_bundle_is_safetensors_and_json_and_says_what_it_reveals(grown):
    names = {path.name for path in grown.bundle.iterdir()}
    assert names == {
        "bundle.json", "gates.safetensors", "round-1.safetensors", "round-2.safetensors",
    }  # fmt: skip
    document = read_json(grown.bundle / "bundle.json")
    assert "TRAIN" in document["reveals"]
    assert document["train"]["images"] == {"benign": 12, "malignant": 8}
    assert set(document["files"]) == names - {"bundle.json"}


def test_gates_come_back_as_they_were(grown, trained):
    bundle = open_generator_bundle(grown.bundle)
    gates, images = grown.growth.gates, trained[1]
    features = gates.features(images)
    assert np.array_equal(bundle.gates.features(images), features)
    assert bundle.gates.novelty.score(images.pixels)[0] == pytest.approx(0, abs=1e-6)
    assert bundle.gates.thresholds() == gates.thresholds()
    closest = list(range(len(images)))
    assert np.array_equal(
        bundle.gates.class_probability(features, 1, closest),
        gates.class_probability(features, 1, closest),
    )
    for a, b in zip(bundle.gates.typicality.score(features, 0), gates.typicality.score(features, 0),
                    strict=True):  # fmt: skip
        assert a == b
    assert np.array_equal(bundle.realism.log_r1, grown.realism.log_r1)
    assert repeats_golden_sample(bundle)


def test_images_without_gates_are_the_generators_own(grown, tmp_path):
    out = sonobalance.sample(
        grown.bundle, label="malignant", n=12, out=tmp_path / "out", seed=3, gates=False
    )
    manifest = read_manifest(out / "manifest.csv", out)
    assert [r.origin for r in manifest] == ["synthetic"] * 12
    made = open_generator_bundle(grown.bundle).sampler.sample(torch.ones(12, dtype=int), seed=3)
    for record, pixels in zip(manifest, made.pixels, strict=True):
        assert np.array_equal(read_gray(manifest.file(record)), pixels[0].numpy())
    document = read_json(out / "sample.json")
    assert (document["made"], document["accepted"], document["gates"]) == (12, 12, False)
    with Image.open(out / "contact-sheet.png") as image:
        assert image.size == (10 * 34, 2 * 34)


@pytest.fixture(scope="module")
def gated(grown, tmp_path_factory):
    out = tmp_path_factory.mktemp("gated") / "out"
    return sonobalance.sample(grown.folder, label="malignant", n=6, out=out, seed=1, tries=40)


def test_gates_travel_in_the_bundle(gated):
    rows = rows_of(gated / "selection.csv")
    document = read_json(gated / "sample.json")
    kept = [row for row in rows if row["kept"] == "true"]
    assert document["accepted"] == len(kept) <= 6
    assert document["made"] == len(rows) == len({row["id"] for row in rows})
    assert sum(document["rejected"].values()) == len(rows) - len(kept)
    assert all(0 <= float(row["typicality"]) <= 1 for row in rows)
    assert all(float(row["novelty"]) > 0.05 for row in kept)


def test_the_same_seed_gives_the_same_images(grown, gated, tmp_path):
    again = sonobalance.sample(
        grown.bundle, label="malignant", n=6, out=tmp_path / "again", seed=1, tries=40
    )
    assert (again / "selection.csv").read_bytes() == (gated / "selection.csv").read_bytes()


@pytest.mark.parametrize("steps", [0, 4])
def test_each_image_can_be_made_again_by_its_id(grown, tmp_path, capsys, steps):
    out = tmp_path / "out"
    sonobalance.sample(
        grown.bundle, label="benign", n=7, out=out, seed=5, gates=False, truncation=0.7,
        interpolation=steps,
    )  # fmt: skip
    again = tmp_path / "again.png"
    code = sonobalance.regenerate("s5-benign-00006", out, bundle=grown.bundle, out=again)
    assert code == 0
    assert "every pixel" in capsys.readouterr().out
    original = next(out.rglob("s5-benign-00006.png"))
    assert np.array_equal(read_gray(again), read_gray(original))


def test_an_altered_image_is_told_by_the_exit_code(grown, tmp_path, capsys):
    out = tmp_path / "out"
    sonobalance.sample(grown.bundle, label="benign", n=1, out=out, gates=False)
    path = next(out.rglob("s0-benign-00000.png"))
    with Image.open(path) as image:
        pixels, text = np.array(image), image.text
    pixels[3, 4] ^= 1
    from sonobalance.data.images import write_png

    write_png(path, pixels, text)
    words = ["regenerate", "s0-benign-00000", str(out), "--bundle", str(grown.bundle)]
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == 1
    assert "1 of 1024 pixels differ" in capsys.readouterr().out


def test_brackets_in_a_name_hide_no_image(grown, tmp_path, capsys):
    out = tmp_path / "out"
    sonobalance.sample(grown.bundle, label="benign", n=1, out=out, gates=False)
    path = next(out.rglob("s0-benign-00000.png"))
    path.rename(path.with_name("s0-mal_ig[1]-00000.png"))
    assert sonobalance.regenerate("s0-mal_ig[1]-00000", out, bundle=grown.bundle) == 0
    assert "every pixel" in capsys.readouterr().out


def test_without_its_generator_an_image_cannot_be_made_again(grown, tmp_path):
    out = tmp_path / "out"
    sonobalance.sample(grown.bundle, label="benign", n=1, out=out, gates=False)
    with pytest.raises(InputError, match="--bundle"):
        sonobalance.regenerate("s0-benign-00000", out)


def test_a_walk_starts_and_ends_at_the_generators_images(grown):
    sampler = open_generator_bundle(grown.bundle).sampler
    walk = interpolate(sampler, 1, seed=2, steps=3, indices=torch.arange(7), truncation=0.5)
    own = sampler.sample(torch.ones(3, dtype=int), seed=2, truncation=0.5)
    for k in range(3):
        assert torch.equal(walk.pixels[3 * k], own.pixels[k])
        assert walk.parents[3 * k] == own.parents[k]
    steps = walk.pixels.float().diff(dim=0).abs().mean((1, 2, 3))
    one, other = own.parents[0], own.parents[1]
    for name, weight in zip(walk.parents[1].ids, walk.parents[1].weights, strict=True):
        shares = [
            w * share
            for parents, share in ((one, 2 / 3), (other, 1 / 3))
            for n, w in zip(parents.ids, parents.weights, strict=True)
            if n == name
        ]
        assert weight == pytest.approx(sum(shares))
    assert (steps > 0).all()


def test_truncation_makes_images_tamer(grown):
    sampler = open_generator_bundle(grown.bundle).sampler
    target = torch.ones(8, dtype=int)
    mean = sampler.sample(target, seed=2, truncation=0.0).pixels.float()
    far = [
        (sampler.sample(target, seed=2, truncation=t).pixels - mean).abs().mean().item()
        for t in (0.3, 2.0)
    ]
    assert 0 < far[0] < far[1]


@pytest.fixture
def larger(grown, tmp_path):
    """The bundle with an enlarger to 48 px beside it."""
    return with_enlarger(grown.bundle, tmp_path / "larger", 48)


def test_a_bundle_with_an_enlarger_gives_the_classifiers_side(larger, tmp_path, capsys):
    sample = partial(sonobalance.sample, larger, label="benign", n=3, seed=4, gates=False)
    drawn, out = sample(out=tmp_path / "drawn", drawn=True), sample(out=tmp_path / "out")
    assert "drawn with 32 px and enlarged to 48 px" in capsys.readouterr().out
    small, large = (
        np.stack([read_gray(p) for p in sorted(place.rglob("s4-*.png"))]) for place in (drawn, out)
    )
    wanted = enlarged_pixels(torch.from_numpy(small)[:, None], load_enlarger(larger / ENLARGER), 1)
    assert np.array_equal(large, wanted[:, 0].numpy())
    assert {(r.width, r.height) for r in read_manifest(out / "manifest.csv", out)} == {(48, 48)}
    for place, side in ((drawn, 32), (out, 48)):
        assert read_json(place / "sample.json")["image_size_px"] == side
        assert sonobalance.regenerate("s4-benign-00002", place, bundle=larger) == 0


def test_damage_and_bad_requests_are_one_sentence(grown, tmp_path):
    bad = shutil.copytree(grown.bundle, tmp_path / "bad")
    content = bytearray((bad / "gates.safetensors").read_bytes())
    content[-1] ^= 1
    (bad / "gates.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="SHA-256 differs"):
        open_generator_bundle(bad)
    document = read_json(bad / "bundle.json") | {"kind": "something"}
    (bad / "bundle.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="of the kind"):
        open_generator_bundle(bad)
    with pytest.raises(InputError, match="generator bundle"):
        open_generator_bundle(tmp_path)
    with pytest.raises(InputError, match="benign, malignant"):
        sonobalance.sample(grown.bundle, label="cyst", n=1, out=tmp_path / "x")
    with pytest.raises(SettingsError, match="truncation from 0 to 2"):
        sonobalance.sample(grown.bundle, label="benign", n=1, out=tmp_path / "x", truncation=3)
    with pytest.raises(InputError, match="new or empty"):
        sonobalance.sample(grown.bundle, label="benign", n=1, out=bad)
    assert not (tmp_path / "x").exists()


def test_hard_examples_are_a_share_of_all_that_is_drawn_and_not_of_each_pool(grown, monkeypatch):
    bundle, asked = open_generator_bundle(grown.bundle), []

    def take_hard_ones(pool, gates, realism, tables, *, quota, hard_quota, realism_share):
        asked.append(hard_quota)
        kept = [i < hard_quota for i in range(len(pool.images))]
        reasons = ["accepted as a hard example" if k else "class: too unlike" for k in kept]
        return [
            _candidate(pool, i, gates, diversity=1.0, kept=k, reason=reason)
            for i, (k, reason) in enumerate(zip(kept, reasons, strict=True))
        ]

    monkeypatch.setattr(drawing, "select", take_hard_ones)
    request = drawing.Request("malignant", 30, seed=0, tries=8)
    candidates, accepted = drawing._gated(bundle, request, 1)
    assert asked == [27, 0, 0, 0]  # the stub allows nine tenths
    assert len(accepted) == sum(c.kept for c in candidates) == 27
