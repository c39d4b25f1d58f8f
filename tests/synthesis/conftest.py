"""A tiny GAN that really trains, two rounds of synthesis with it, and the bundle of it."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from growth_stubs import DIVERSE, TINY, WIDE, Lenient, toy_set

from sonobalance import runs
from sonobalance.classify.features import extract_features
from sonobalance.config import Settings
from sonobalance.data.images import write_png
from sonobalance.data.loading import Outlines
from sonobalance.data.manifest import Manifest, Record
from sonobalance.data.split import Splits
from sonobalance.gan.train import train_gan
from sonobalance.synthesis.generator_bundle import write_generator_bundle
from sonobalance.synthesis.grow import grow
from sonobalance.synthesis.masks import samplers_in, write_masks
from sonobalance.synthesis.realism import realism_of

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Folder of the GAN, its TRAIN images and their groups."""
    folder = tmp_path_factory.mktemp("gan")
    train, groups = toy_set((12, 8))
    train_gan(train, TINY, seed=0, folder=folder, device=CPU)
    return folder, train, groups


@pytest.fixture(scope="session")
def make_generator(trained):
    return lambda folder: Lenient(
        trained[1], TINY, 0, trained[0], folder / "generators", 0.008, CPU, trained[2]
    )


@pytest.fixture(scope="session")
def grown(trained, make_generator, tmp_path_factory):
    """Two rounds of synthesis and the bundle beside them, as the stage `synthesize` leaves them."""
    folder = tmp_path_factory.mktemp("grown")
    generator, train = make_generator(folder), trained[1]
    growth = grow(train, trained[2], generator, extract_features, WIDE, seed=1, folder=folder)
    generator.advance(2)
    realism = realism_of(generator, train, WIDE)
    bundle = write_generator_bundle(
        folder / "bundle", generators=folder / "generators", gates=growth.gates, realism=realism,
        train=train, default_round=2, settings=WIDE, backbone="unused", weights=None,
    )  # fmt: skip
    return SimpleNamespace(folder=folder, growth=growth, bundle=bundle, realism=realism)


@pytest.fixture(scope="session")
def splits(trained, tmp_path_factory):
    """The toy TRAIN images as files with a mask each, and four more images in VAL and TEST."""
    root, train = tmp_path_factory.mktemp("real"), trained[1]
    records = []
    for key, pixels in zip(train.ids, train.pixels, strict=True):
        label, number = key.split("/")
        write_png(root / f"{label}/image{number}.png", pixels[0].numpy())
        write_png(root / f"{label}/image{number}_mask.png", np.zeros((32, 32), np.uint8))
        records.append(Record(
            key, f"{label}/image{number}.png", label, masks=(f"{label}/image{number}_mask.png",),
            sha256=key,
        ))  # fmt: skip
    for i in range(4):
        path = f"benign/unseen{i}.png"
        write_png(root / path, np.full((40, 30), 9 * i, np.uint8))
        records.append(Record(f"unseen{i}", path, "benign", sha256=f"unseen{i}"))
    part = {r.id: "train" for r in records[:-4]}
    part |= {"unseen0": "val", "unseen1": "val", "unseen2": "test", "unseen3": "test"}
    group = dict(zip(train.ids, trained[2], strict=True)) | {f"unseen{i}": str(i) for i in range(4)}
    return Splits(Manifest(tuple(records), root), part, group, dict.fromkeys(part, -1))


@pytest.fixture(scope="session")
def run_folder(splits, grown, tmp_path_factory):
    """A run up to the stage `synthesize`."""
    folder = tmp_path_factory.mktemp("run")
    runs.create(folder, splits.manifest.root, Settings(), None).save()
    splits.manifest.write(folder / "manifest.csv")
    splits.write(folder / "splits.csv")
    shutil.copytree(grown.folder, folder / "synthesis")
    return folder


@pytest.fixture(scope="session")
def drawn_masks(trained, tmp_path_factory):
    """One round of synthesis with a tiny GAN that draws masks, and how many it wrote."""
    gan, folder = tmp_path_factory.mktemp("gan"), tmp_path_factory.mktemp("drawn")
    settings = TINY.model_copy(update={"synthesize_masks": True, "autoencoder_kimg": 0.5})
    _, toy, groups = trained
    masks = (toy.pixels > 145).byte() * 255
    train = replace(toy, outlines=Outlines(masks, torch.ones(len(toy)).bool()))
    train_gan(train, settings, seed=0, folder=gan, device=CPU)
    generator = Lenient(train, settings, 0, gan, folder / "generators", 0.008, CPU, groups)
    growth = grow(train, groups, generator, extract_features, DIVERSE, seed=1, folder=folder)
    bundle = write_generator_bundle(
        folder / "bundle", generators=folder / "generators", gates=growth.gates,
        realism=realism_of(generator, train, DIVERSE), train=train, default_round=1,
        settings=DIVERSE, backbone="unused", weights=None,
    )  # fmt: skip
    write_png(folder / "masks/benign/of-another-synthesis.png", np.zeros((8, 8), np.uint8))
    written = write_masks(folder, samplers_in(folder, CPU))
    return SimpleNamespace(folder=folder, bundle=bundle, written=written)


@pytest.fixture
def masked_run(run_folder, drawn_masks, tmp_path):
    """A run with masks at the generator's side."""
    shutil.copytree(run_folder, tmp_path / "run", ignore=shutil.ignore_patterns("synthesis"))
    shutil.copytree(drawn_masks.folder, tmp_path / "run/synthesis")
    return tmp_path / "run"
