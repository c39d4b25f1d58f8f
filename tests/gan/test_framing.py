import torch
from torch.nn.functional import avg_pool2d

from sonobalance.data.images import letterbox
from sonobalance.data.loading import to_pixels, to_unit
from sonobalance.gan.framing import fill, find_frames, refit


def letterboxed(height, width, size=32):
    generator = torch.Generator().manual_seed(height)
    content = torch.randint(1, 255, (height, width), generator=generator, dtype=torch.uint8)
    return torch.from_numpy(letterbox(content.numpy(), size))[None, None]


def test_frames_of_letterboxes_are_found():
    for height, width in ((60, 64), (40, 64), (64, 33), (33, 64), (64, 64), (23, 64)):
        box = letterboxed(height, width)
        top, bottom, left, right = find_frames(box)[0].tolist()
        inner_h, inner_w = round(height * 0.5), round(width * 0.5)
        assert (bottom - top, right - left) == (inner_h, inner_w), (height, width)
        assert (box[0, 0, top:bottom, left:right] > 0).all()


def test_dark_bottom_is_not_a_bar():
    pixels = torch.full((1, 1, 32, 32), 90, dtype=torch.uint8)
    pixels[:, :, 20:] = 0
    assert find_frames(pixels)[0].tolist() == [0, 32, 0, 32]


def test_black_image_keeps_the_whole_square():
    assert find_frames(torch.zeros(1, 1, 32, 32, dtype=torch.uint8))[0].tolist() == [0, 32, 0, 32]


def test_refit_inverts_fill_for_smooth_images_and_restores_the_bars():
    ramp = torch.linspace(40, 220, 32).repeat(32, 1).to(torch.uint8)
    ramp[:6], ramp[-6:] = 0, 0
    pixels = ramp[None, None]
    frames = find_frames(pixels)
    filled = fill(pixels, frames)
    assert filled.min() > -0.8
    back = to_pixels(refit(filled, frames))
    assert (back[..., :6, :] == 0).all()
    assert (back[..., -6:, :] == 0).all()
    assert (to_unit(back) - to_unit(pixels)).abs().max() < 0.03


def test_fine_detail_survives_the_way_there_and_back():
    """Bilinear resampling keeps about four fifths: real images came out as soft as generated."""
    generator = torch.Generator().manual_seed(0)
    grain = torch.randint(20, 236, (8, 1, 66, 66), generator=generator).float()
    pixels = avg_pool2d(avg_pool2d(grain, 2, 1), 2, 1).round().to(torch.uint8)
    pixels[:, :, :10], pixels[:, :, -10:] = 0, 0
    frames = find_frames(pixels)
    back = refit(fill(pixels, frames), frames)

    def detail(images):
        content = images[:, :, 12:52]
        return (content - avg_pool2d(content, 3, 1, 1)).std()

    assert detail(back) > 0.9 * detail(to_unit(pixels))
