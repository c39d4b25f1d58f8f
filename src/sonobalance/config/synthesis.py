"""Settings of the iterative loop and its gates."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sonobalance.config.section import Section


class SynthesisSettings(Section):
    """The iterative loop and its gates."""

    rounds: int = Field(3, ge=1, le=100, description="Most rounds of the loop.")
    target: Literal["balance", "ratio", "counts"] = Field(
        "balance",
        description="`balance`: the size of the largest class; `ratio`, `counts`: see there.",
    )
    ratio: float = Field(
        1.0,
        gt=0,
        le=5,
        description="With target=ratio: images per class over the largest class.",
    )
    counts: dict[str, int] = Field(
        {}, description="With target=counts: images per class, real and synthetic together."
    )
    pool_factor: float = Field(
        4.0, ge=1, le=100, description="Candidates per image that a round may add."
    )
    min_pool: int = Field(
        32, ge=2, description="Fewest candidates of a class: enough to judge whether it collapsed."
    )
    cap_share: float = Field(
        0.5, gt=0, le=1, description="Most of a class's first deficit that one round may fill."
    )
    truncation: float = Field(
        1.0, ge=0, le=2, description="Factor of the latent noise; lower is tamer and less diverse."
    )
    realism_pass: float = Field(
        0.95, gt=0, lt=1, description="Share of real TRAIN images that pass the realism gate."
    )
    realism_share: float = Field(
        0.75, ge=0, le=1,
        description="Share of a pool, the most real by both discriminators, that passes realism "
        "even where real images look more real; 0: the real range alone decides.",
    )  # fmt: skip
    class_pass: float = Field(
        0.9, gt=0, lt=1, description="Most of a class's real images that pass its class gate."
    )
    class_reject: float = Field(
        0.85, gt=0, lt=1, description="Least share of other classes' real images it rejects."
    )
    hard_share: float = Field(
        0.1, ge=0, lt=1, description="Share of a round kept for images just below the class gate."
    )
    typicality_pass: float = Field(
        0.98, gt=0, lt=1, description="Share of real TRAIN images that pass the typicality gate."
    )
    typicality_slack: float = Field(
        1.0,
        ge=1,
        le=3,
        description="Factor that widens the real range of feature distances.",
    )
    false_copies: float = Field(
        0.03, gt=0, lt=0.5, description="Most real images that novelty may mistake for copies."
    )
    caught_copies: float = Field(
        0.995,
        gt=0.5,
        lt=1,
        description="Least share of altered TRAIN copies that novelty rejects.",
    )
    collapse_share: float = Field(
        0.5, gt=0, le=1,
        description="Stop when more than this share of `min_pool` candidates are twins.",
    )  # fmt: skip
    coverage_fall: float = Field(
        0.3, gt=0, le=1, description="Stop when coverage falls by this share below its best round."
    )
    patience_rounds: int = Field(2, ge=1, description="Rounds without gain before stopping.")
    min_gain: float = Field(
        0.002, ge=0, lt=1, description="Rise of the inner macro-F1 that counts as a gain."
    )
    min_acceptance: float = Field(
        0.02, ge=0, le=1, description="Stop when fewer candidates than this share pass every gate."
    )
    max_candidates: int = Field(
        100_000, ge=1, description="Budget: no round starts after this many candidates."
    )
    inner_folds: int = Field(5, ge=2, le=20, description="Grouped folds of TRAIN judging a round.")
    inner_repeats: int = Field(3, ge=1, le=20, description="Times these folds are dealt anew.")
    harm_guard: bool = Field(
        True,
        description="Train with the images up to the best round only; where no round gained "
        "`min_gain` over none, with all of them, but never deliver that model.",
    )
    feed_back: bool = Field(
        False,
        description="Train the GAN of each later round anew on TRAIN and the accepted images; its "
        "errors then feed on themselves, and nothing is held back from it.",
    )
    enlarger_kimg: float = Field(
        6.0, ge=0,
        description="Thousand pairs of TRAIN images, shrunk and whole, that the enlarger of "
        "synthetic images learns from; with `classifier.weights` only; 0: plain resampling.",
    )  # fmt: skip
    gan_kimg_per_round: float = Field(
        2.0,
        ge=0,
        description="Thousand real images the GAN continues on before each later round, rounded up "
        "to whole `gan.snapshot_kimg`.",
    )
