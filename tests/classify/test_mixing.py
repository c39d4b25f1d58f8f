"""Mixed batches by hand: shares, areas, labels."""

import pytest
import torch

from sonobalance.classify.mixing import mix
from sonobalance.randomness import torch_generator


def _batch():
    """Image i is of value i everywhere, in both channels."""
    return torch.arange(6.0)[:, None, None, None].expand(6, 2, 16, 16)


def test_without_mixing_the_batch_and_the_generator_are_left_alone():
    generator = torch_generator(0)
    images, before = _batch(), generator.get_state()
    mixed = mix(images, 0, 0, generator)
    assert mixed.images is images
    assert [share for _, share in mixed.parts()] == [1.0]
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("seed", range(5))
def test_mixup_is_the_same_average_of_images_and_labels(seed):
    mixed = mix(_batch(), 0.4, 0, torch_generator(seed))
    wanted = sum(share * rows for rows, share in mixed.parts())
    torch.testing.assert_close(mixed.images, wanted[:, None, None, None].expand(6, 2, 16, 16))


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_shares_are_areas_and_channels_are_cut_alike(seed):
    mixed = mix(_batch(), 0, 1.0, torch_generator(seed))
    own = mixed.images == _batch()
    moved = mixed.order != torch.arange(6)
    assert torch.allclose(own[moved].float().mean((1, 2, 3)), torch.tensor(mixed.share))
    assert torch.equal(mixed.images[:, 0], mixed.images[:, 1])
    assert torch.equal(mixed.images[~own].unique(), mixed.order[moved].unique().float())


def test_both_are_drawn_and_the_same_state_gives_the_same_batch():
    def whole_numbers(seed):
        images = mix(_batch(), 1.0, 1.0, torch_generator(seed)).images
        assert torch.equal(images, mix(_batch(), 1.0, 1.0, torch_generator(seed)).images)
        return torch.equal(images, images.round())

    assert {whole_numbers(seed) for seed in range(20)} == {True, False}
