"""The GAN behind the loop: it goes on in a copy, round by round, and every candidate returns."""

import csv
import hashlib
import shutil

import numpy as np
import pytest
import torch
from growth_stubs import TINY

from sonobalance.errors import CollapseError, InputError
from sonobalance.files import write_json
from sonobalance.gan.sampling import Sampler
from sonobalance.synthesis import generator
from sonobalance.synthesis.generator import GanGenerator
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


@pytest.fixture
def rounds_of(trained, tmp_path, monkeypatch):
    """The thousands of images that `train_gan` is asked for in all, round by round."""

    def asked(kimg_per_round, seen_kimg, **settings):
        gan, asked = tmp_path / "gan", []
        shutil.copytree(trained[0], gan)
        write_json(gan / "gan.json", {"kimg": seen_kimg})

        def train(*_, folder, total_kimg, **__):
            asked.append(total_kimg)
            return folder / "snapshot.safetensors"

        monkeypatch.setattr(generator, "train_gan", train)
        made = GanGenerator(
            trained[1], TINY.model_copy(update=settings), 0, gan, tmp_path / "generators",
            kimg_per_round, CPU,
        )  # fmt: skip
        for number in (1, 2, 3, 4):
            made.advance(number)
        return asked

    return asked


def test_each_round_goes_on_for_as_long_as_it_was_asked_in_whole_snapshots(rounds_of):
    """Of 83 batches of 12, .996 thousand images, the nearest to one thousand."""
    rounds = rounds_of(0.5, 3.984, total_kimg=4.0, snapshot_kimg=1.0, batch_size=12)
    assert rounds == pytest.approx([5 * 0.996, 6 * 0.996, 7 * 0.996])


def test_rounds_count_from_where_the_training_ended(rounds_of):
    settings = {"total_kimg": 10.0, "snapshot_kimg": 2.0, "batch_size": 16}
    assert rounds_of(4.0, 6.0, **settings) == [10, 14, 18]


def test_a_collapse_on_images_fed_back_keeps_the_generator(trained, make_generator, tmp_path,
                                                           monkeypatch, capsys):  # fmt: skip
    def collapse(*_, **__):
        raise CollapseError("The generator collapsed.")

    made = make_generator(tmp_path)
    made.advance(1)
    first = made.fingerprint
    monkeypatch.setattr(generator, "train_gan", collapse)
    made.advance(2, accepted=trained[1].take([0]))
    assert made.fingerprint == first
    assert "keeps the generator of round 1" in capsys.readouterr().err
