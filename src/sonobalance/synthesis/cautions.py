"""What the loop warns of before it starts."""

from __future__ import annotations

from sonobalance.config import SynthesisSettings
from sonobalance.data.loading import LabelledImages

FEED_BACK = (
    "Accepted images are fed back to the GAN (synthesis.feed_back): its errors and gaps reinforce "
    "themselves from round to round (Shumailov et al. 2024), and no image is held back from it."
)
LARGEST_STEP, GOOD_STEP = 2.0, 1.25  # of the classifier's side over the generator's
LARGEST_LEARNT_STEP = 3.0  # the same where an enlarger learnt it


def cautions(
    settings: SynthesisSettings,
    train: LabelledImages,
    seen: LabelledImages | None,
    *,
    learnt: bool = False,
) -> list[str]:
    """Every warning, a sentence or two each; arguments as of `grow`.

    `learnt`: an enlarger brings the images to the classifier's side.
    """
    fed = [FEED_BACK] if settings.feed_back else []
    if seen is None:
        return fed
    return fed + too_coarse(train.pixels.shape[-1], seen.pixels.shape[-1], learnt=learnt)


def too_coarse(generated_px: int, seen_px: int, *, learnt: bool = False) -> list[str]:
    """A warning when the classifier sees images far larger than those that are generated.

    On BUSI even real images add next to nothing when they are shrunk to 64 px first and a
    classifier sees 160 px; enlarged as learnt from TRAIN they keep half of their worth
    (`benchmarks/synthesis_value.py`).
    """
    if seen_px <= (LARGEST_LEARNT_STEP if learnt else LARGEST_STEP) * generated_px:
        return []
    return [
        f"Images of {generated_px} px are generated for a classifier that sees {seen_px} px: too "
        f"coarse to teach it much. Give gan.image_size_px of about {seen_px / GOOD_STEP:.0f}, or a "
        "smaller classifier.image_size_px."
    ]
