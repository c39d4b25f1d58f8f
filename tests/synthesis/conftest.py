"""A tiny GAN that really trains, two rounds of synthesis with it, and the bundle of it."""

from types import SimpleNamespace

import pytest
import torch
from growth_stubs import toy_set

from sonobalance.classify.features import extract_features
from sonobalance.config import GanSettings, SynthesisSettings
from sonobalance.gan.train import train_gan
from sonobalance.synthesis.generator import GanGenerator
from sonobalance.synthesis.generator_bundle import write_generator_bundle
from sonobalance.synthesis.grow import grow
from sonobalance.synthesis.realism import realism_of

CPU = torch.device("cpu")
TINY = GanSettings(
    image_size_px=32, base_channels=4, latent_dim=8, batch_size=4, autoencoder_kimg=0.12,
    total_kimg=0.008, snapshot_kimg=0.008, fade_kimg=0.01, r1_interval=2, collapse_fraction=0.0,
)  # fmt: skip
SETTINGS = SynthesisSettings(
    rounds=2, min_pool=4, pool_factor=1.0, min_acceptance=0.0, collapse_share=1.0,
    coverage_fall=1.0, inner_repeats=1, inner_folds=2, patience_rounds=9, truncation=0.5,
)  # fmt: skip
# Gates that a generator after sixteen steps can pass
WIDE = SETTINGS.model_copy(
    update={
        "realism_pass": 0.999, "class_pass": 0.999, "class_reject": 0.001, "hard_share": 0.9,
        "typicality_pass": 0.999, "typicality_slack": 3.0,
    }
)  # fmt: skip


class Lenient(GanGenerator):
    """Its discriminators know no difference, so that after a few steps images are accepted."""

    def log_ratios(self, pixels, targets):
        return torch.zeros(len(pixels)), torch.zeros(len(pixels))


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
