"""The GAN behind the loop: it goes on in a copy, round by round, and every candidate returns."""

import csv
import hashlib

import numpy as np
import pytest
import torch
from growth_stubs import toy_features, toy_set

from sonobalance.config import GanSettings, SynthesisSettings
from sonobalance.errors import InputError
from sonobalance.gan.sampling import Sampler
from sonobalance.gan.train import train_gan
from sonobalance.synthesis.generator import GanGenerator
from sonobalance.synthesis.grow import grow
from sonobalance.synthesis.regenerate import regenerate

CPU = torch.device("cpu")
TINY = GanSettings(
    image_size_px=32, base_channels=4, latent_dim=8, batch_size=4, autoencoder_kimg=0.016,
    total_kimg=0.008, snapshot_kimg=0.008, fade_kimg=0.01, r1_interval=2, collapse_fraction=0.0,
)  # fmt: skip
SETTINGS = SynthesisSettings(
    rounds=2, min_pool=4, pool_factor=1.0, min_acceptance=0.0, collapse_share=1.0,
    coverage_fall=1.0, inner_repeats=1, inner_folds=2, patience_rounds=9, truncation=0.5,
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gan")
    train, groups = toy_set((12, 8))
    train_gan(train, TINY, seed=0, folder=folder, device=CPU)
    return folder, train, groups


def hashes(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.*")}


def generator_of(trained, folder):
    return GanGenerator(trained[1], TINY, 0, trained[0], folder / "generators", 0.008, CPU)


@pytest.fixture(scope="module")
def grown(trained, tmp_path_factory):
    before = hashes(trained[0])
    folder = tmp_path_factory.mktemp("grown")
    generator = generator_of(trained, folder)
    grow(trained[1], trained[2], generator, toy_features, SETTINGS, seed=1, folder=folder)
    assert hashes(trained[0]) == before  # the run's own GAN stays as it is
    return folder


def test_the_first_round_uses_the_trained_gan_and_the_second_trains_on(trained, grown):
    snapshots = hashes(grown / "generators")
    assert snapshots["round-1.safetensors"] == hashes(trained[0])["snapshot.safetensors"]
    kimg = (grown / "generators/training/stats.jsonl").read_text().count('"adversarial"')
    assert kimg == 2


def test_every_candidate_can_be_made_again(grown):
    with (grown / "selection.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["round"] for row in rows} == {"1", "2"}
    for row in rows[:2] + rows[-2:]:
        path = grown / "generators" / f"round-{row['round']}.safetensors"
        pool = sum(r["round"] == row["round"] for r in rows)
        sampler = Sampler.load(path, CPU)
        targets = torch.full((pool,), sampler.classes.index(row["class"]))
        all_of_them = sampler.sample(targets, seed=int(row["seed"]), truncation=0.5)
        again = regenerate(grown, row["id"], CPU)
        assert np.array_equal(again, all_of_them.pixels[int(row["index"]), 0].numpy())
        assert row["parents"].count("|") == TINY.parents - 1


def test_an_unknown_candidate_is_named(grown):
    with pytest.raises(InputError, match="'r9-nobody-00000'"):
        regenerate(grown, "r9-nobody-00000", CPU)


def test_killed_while_copying_or_training_ends_alike(trained, grown, tmp_path):
    """A leftover of an interrupted copy is replaced; a finished round is only loaded."""
    generator = generator_of(trained, tmp_path)
    generator.advance(1)
    work = tmp_path / "generators" / "training"
    work.mkdir(parents=True)
    (work / "snapshot.safetensors").write_bytes(b"half")
    generator.advance(2)
    assert hashes(tmp_path / "generators") == hashes(grown / "generators")
    generator.advance(2)
    first = generator.fingerprint
    generator.advance(0)
    assert generator.fingerprint == hashes(trained[0])["snapshot.safetensors"]
    assert first == hashes(grown / "generators")["round-2.safetensors"]
