"""The GAN behind the loop: it goes on in a copy, round by round, and every candidate returns."""

import csv
import hashlib

import numpy as np
import pytest
import torch

from sonobalance.errors import InputError
from sonobalance.gan.sampling import Sampler
from sonobalance.synthesis.regenerate import regenerate

CPU = torch.device("cpu")


def hashes(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.*")}


def test_the_first_round_uses_the_trained_gan_and_the_second_trains_on(trained, grown):
    snapshots = hashes(grown.folder / "generators")
    assert snapshots["round-1.safetensors"] == hashes(trained[0])["snapshot.safetensors"]
    kimg = (grown.folder / "generators/training/stats.jsonl").read_text().count('"adversarial"')
    assert kimg == 2


def test_every_candidate_can_be_made_again(grown):
    with (grown.folder / "selection.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["round"] for row in rows} == {"1", "2"}
    for row in rows[:2] + rows[-2:]:
        path = grown.folder / "generators" / f"round-{row['round']}.safetensors"
        pool = sum(r["round"] == row["round"] for r in rows)
        sampler = Sampler.load(path, CPU)
        targets = torch.full((pool,), sampler.classes.index(row["class"]))
        all_of_them = sampler.sample(targets, seed=int(row["seed"]), truncation=0.5)
        again = regenerate(grown.folder, row["id"], CPU)
        assert again.different == 0
        assert (again.kept is not None) == (row["kept"] == "true")
        assert np.array_equal(again.pixels, all_of_them.pixels[int(row["index"]), 0].numpy())
        assert row["parents"].count("|") == sampler.snapshot.settings.parents - 1


def test_an_unknown_candidate_is_named(grown):
    with pytest.raises(InputError, match="'r9-nobody-00000'"):
        regenerate(grown.folder, "r9-nobody-00000", CPU)


def test_killed_while_copying_or_training_ends_alike(trained, grown, make_generator, tmp_path):
    """A leftover of an interrupted copy is replaced; a finished round is only loaded."""
    generator = make_generator(tmp_path)
    generator.advance(1)
    work = tmp_path / "generators" / "training"
    work.mkdir(parents=True)
    (work / "snapshot.safetensors").write_bytes(b"half")
    generator.advance(2)
    assert hashes(tmp_path / "generators") == hashes(grown.folder / "generators")
    generator.advance(2)
    first = generator.fingerprint
    generator.advance(0)
    assert generator.fingerprint == hashes(trained[0])["snapshot.safetensors"]
    assert first == hashes(grown.folder / "generators")["round-2.safetensors"]
