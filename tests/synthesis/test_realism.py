"""The realism gate is calibrated on what the discriminators never saw."""

import numpy as np
import torch
from growth_stubs import StubGenerator, toy_set

from sonobalance.config import SynthesisSettings
from sonobalance.gan.held import FEWEST_HELD
from sonobalance.synthesis.realism import realism_of


class Remembering(StubGenerator):
    """Discriminators that know what they learnt by heart, and rank the rest by brightness."""

    def __init__(self, train, learnt):
        super().__init__(learnt=learnt)
        self.known = {
            p.numpy().tobytes()
            for key, p in zip(train.ids, train.pixels, strict=True)
            if key in learnt
        }

    def log_ratios(self, pixels, targets):
        values = [
            9.0 if p.numpy().tobytes() in self.known else p.float().mean().item() / 255
            for p in pixels
        ]
        return torch.tensor(values), torch.tensor(values)


def test_memorised_images_do_not_set_the_scale():
    train, _ = toy_set((40, 40))
    held = {*train.ids[:10], *train.ids[40:50]}
    generator = Remembering(train, tuple(k for k in train.ids if k not in held))
    gate = realism_of(generator, train, SynthesisSettings())
    assert len(gate.targets) == 20
    assert gate.log_r1.max() < 1
    fresh, _ = toy_set((30, 30), seed=5)
    scores = [x.double().numpy() for x in generator.log_ratios(fresh.pixels, fresh.targets)]
    benign = fresh.targets.numpy() == 0
    passed = gate.threshold.admits(gate.score(scores[0][benign], scores[1][benign], 0))
    assert passed.mean() > 0.7  # by the scale of what was learnt, none would
    everything = realism_of(Remembering(train, train.ids), train, SynthesisSettings())
    refused = everything.score(scores[0], scores[1], 0)
    assert not everything.threshold.admits(refused).any()
    assert "20 real TRAIN images that the discriminators never saw" in gate.threshold.rule


def test_a_class_with_too_few_held_back_images_uses_all_of_it():
    train, _ = toy_set((20, 12))
    held = {*train.ids[:FEWEST_HELD], *train.ids[20 : 20 + FEWEST_HELD - 1]}
    generator = Remembering(train, tuple(k for k in train.ids if k not in held))
    gate = realism_of(generator, train, SynthesisSettings())
    assert np.bincount(gate.targets).tolist() == [FEWEST_HELD, 12]
