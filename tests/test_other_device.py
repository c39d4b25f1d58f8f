"""Training steps on a device that is not the CPU, without having one: shapes, types and devices.

Fake tensors know their device and refuse to meet those of another, but compute nothing. So a tensor
that was left on the CPU is found on machines without a GPU, too; backward passes need a real one.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from sonobalance.classify.build import network
from sonobalance.classify.learner import Learner, _loss
from sonobalance.config import ClassifierSettings, GanSettings
from sonobalance.data.loading import LabelledImages, Outlines, to_unit
from sonobalance.gan.batches import adversarial_batch, evaluation_images, warmup_batch
from sonobalance.gan.features import FrozenFeatures
from sonobalance.gan.latents import encode_bank
from sonobalance.gan.phases import adversarial_phases, warmup_phases
from sonobalance.gan.training import start
from sonobalance.randomness import torch_generator

ELSEWHERE = torch.device("cuda", 0)
CPU = torch.device("cpu")


def move(mode: FakeTensorMode, *networks: nn.Module) -> None:
    for module in (m for whole in networks for m in whole.modules()):
        for name, value in module.named_parameters(recurse=False):
            moved = nn.Parameter(mode.from_tensor(value.data).to(ELSEWHERE), value.requires_grad)
            module.register_parameter(name, moved)
        for name, value in module.named_buffers(recurse=False):
            setattr(module, name, mode.from_tensor(value).to(ELSEWHERE))


def some_images(size: int) -> LabelledImages:
    pixels = torch.randint(1, 256, (8, 1, size, size), generator=torch_generator(0, "images"))
    masks = Outlines((pixels > 128).byte() * 255, torch.arange(8) % 2 == 0)
    ids = tuple(f"image-{i}" for i in range(8))
    return LabelledImages(pixels.byte(), torch.arange(8) % 2, ids, ("a", "b"), masks)


@pytest.mark.parametrize("objective", ["d2gan", "real_class", "single"])
def test_the_gan_keeps_to_its_device(objective: str) -> None:
    settings = GanSettings(
        objective=objective, image_size_px=32, base_channels=4, latent_dim=8, batch_size=4,
        held_back=0.0,
    )  # type: ignore[arg-type]  # fmt: skip
    images = some_images(32)
    eyes = FrozenFeatures("test_resnet", 32)
    t = start(images, images.ids, settings, seed=0, device=CPU, eyes=eyes)
    bank = encode_bank(
        t.encoder, to_unit(t.train.pixels), t.train.targets, t.train.frames, CPU
    )  # fmt: skip
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        move(mode, t.encoder, t.generator, t.average, eyes, *t.discriminators.values())
        train = replace(t.train, pixels=mode.from_tensor(t.train.pixels).to(ELSEWHERE))
        (warmup,) = warmup_phases(t.encoder, t.generator, settings, eyes)
        outcomes = [warmup.loss(warmup_batch(train, settings, t.generator.noise_dim, 0, t.crew))]
        batch = adversarial_batch(
            train, bank, t.generator, t.branch, settings, probability=0.5, step=0, crew=t.crew
        )
        game = adversarial_phases(t.discriminators, t.generator, settings)
        outcomes += [phase.loss(batch) for phase in game if not phase.name.endswith("_r1")]
        shown = evaluation_images(train, bank, t.average, settings, 2)[0]
        measured = eyes.pooled(shown)
    logged = [value for loss, notes in outcomes for value in (loss, *notes.values())]
    assert {value.device for value in (*logged, shown, measured)} == {ELSEWHERE}


def test_the_classifier_keeps_to_its_device() -> None:
    settings = ClassifierSettings(
        backbone="mobilenetv2_035", image_size_px=64, precision="float32", augmentation="strong"
    )
    images = some_images(64)
    model = network(settings, 2)
    learner = Learner(model, model, torch.optim.AdamW(model.parameters()), pretrained=False)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        move(mode, model)
        loss = _loss(learner, images, torch.ones(8), settings, torch_generator(0, "augment"))
    assert loss.device == ELSEWHERE
