"""The arms that are compared: each is the same classifier under one way of meeting imbalance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sonobalance.config import Arm, ClassifierSettings, Objective, Settings
from sonobalance.errors import SettingsError


@dataclass(frozen=True)
class Treatment:
    """What one arm changes.

    Attributes:
        sentence: what it is, in words.
        overrides: classifier settings it fixes.
        objective: GAN objective whose synthetic images it adds; None for no generator.
        one_shot: use the first round of synthesis only.
        copy_paste: add lesions of the rarer classes in other images (`synthesis.copy_paste`).
    """

    sentence: str
    overrides: tuple[tuple[str, Any], ...] = ()
    objective: Objective | None = None
    one_shot: bool = False
    copy_paste: bool = False

    @property
    def adds_images(self) -> bool:
        """Whether it trains on more than real images."""
        return self.copy_paste or self.objective is not None

    def settings(self, base: ClassifierSettings) -> ClassifierSettings:
        """The classifier settings of this arm."""
        return base.model_copy(update=dict(self.overrides))


EQUAL = (("balance", "over-sampling"),)
TREATMENTS: dict[Arm, Treatment] = {
    "probe": Treatment(
        "real images, frozen features and a regularised logistic regression",
        (
            ("frozen", True), ("attention", "none"), ("lesion_attention", False),
            ("zoom_test", 1.0), ("zoom_on", "middle"),
        ),
    ),
    "none": Treatment("real images only"),
    "class-weights": Treatment(
        "real images, loss weighted by inverse class frequency", (("balance", "class-weights"),)
    ),
    "over-sampling": Treatment("real images, classes drawn equally often", EQUAL),
    "focal": Treatment("real images, focal loss (Lin 2017)", (("focal_gamma", 2.0),)),
    "strong-augmentation": Treatment(
        "real images, strong augmentation", (("augmentation", "strong"),)
    ),
    "copy-paste": Treatment(
        "over-sampling with lesions of rarer classes set into other images (Ghiasi 2021)",
        EQUAL, copy_paste=True,
    ),
    "single": Treatment(
        "over-sampling with iterative synthetic images, one discriminator", EQUAL, "single"
    ),
    "dual-one-shot": Treatment(
        "over-sampling with synthetic images of one round, two discriminators", EQUAL, "d2gan", True
    ),
    "dual-iterative": Treatment(
        "over-sampling with iterative synthetic images, two discriminators", EQUAL, "d2gan"
    ),
    "real-class": Treatment(
        "over-sampling with iterative synthetic images, discriminators of realism and class",
        EQUAL, "real_class",
    ),
}  # fmt: skip
ARM_OF: dict[Objective, Arm] = {
    "d2gan": "dual-iterative", "real_class": "real-class", "single": "single",
}  # fmt: skip

REFERENCES: tuple[Arm, ...] = ("none", "over-sampling")  # what an evaluation compares arms with
CHEAP: tuple[Arm, ...] = tuple(arm for arm, what in TREATMENTS.items() if not what.objective)
SYNTHETIC: tuple[Arm, ...] = tuple(arm for arm in TREATMENTS if arm not in CHEAP)


def arms_of(settings: Settings) -> tuple[Arm, ...]:
    """The arms a run trains: those asked for, or the synthesis arm of its objective and its rivals.

    Its rivals are real images as they are and `over-sampling`, which is this arm without synthetic
    images: the difference is theirs.

    Raises:
        SettingsError: an arm needs another GAN objective than the run's.
    """
    objective = settings.gan.objective
    if not settings.arms:
        return ("none", "over-sampling", ARM_OF[objective])
    for arm in settings.arms:
        needed = TREATMENTS[arm].objective
        if needed not in (None, objective):
            raise SettingsError(
                f"Expected gan.objective={needed} for the arm {arm!r}, but got {objective!r}; "
                "`benchmark` compares objectives."
            )
    return settings.arms


def need_generator(settings: Settings) -> bool:
    """Whether a run trains an arm with generated images."""
    return any(TREATMENTS[arm].objective for arm in arms_of(settings))
