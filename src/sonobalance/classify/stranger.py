"""Is this image of the kind that the classifier was trained on? A score in [0, 1), 0.5 = the limit.

Two Gaussians are fitted to TRAIN: one to the pooled features of the classifier, one to a few plain
statistics of the pixels (a network can be blind to what makes a picture absurd). The distance of
an image is the larger of the two Mahalanobis distances (Lee et al., NeurIPS 2018), each in units of
what VAL shows. The limit is set so that about 1 % of VAL lies beyond it. Clear colour is a third
sign (`classify.colour`), for callers that still have the picture's colours.

The covariance of features is that of probabilistic PCA (Tipping & Bishop 1999): a few directions
and one variance for all others, so that a few hundred images suffice for a thousand features, and
what lies off the directions of TRAIN counts fully.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from sonobalance.classify.features import model_features
from sonobalance.classify.predict import Predictor
from sonobalance.data.loading import LabelledImages
from sonobalance.errors import InputError

Floats = NDArray[np.float64]
LIMIT = 0.5  # a score above it: the image is refused
LEAST_TRAIN, LEAST_VAL = 4, 2  # images
DIRECTIONS = 48
COLOUR_LIMIT = 0.05  # share of clearly coloured pixels; BUSI has far less (`benchmarks/colour.py`)
_SIDE = 128
_NORMAL_99 = 2.326


@dataclass(frozen=True)
class Gaussian:
    """A mean, a few directions with their variances, and one variance for everything else.

    Attributes:
        mean: (F,) of the standardised values.
        scale: (F,) standard deviation that values are divided by first.
        directions: (R, F) orthonormal.
        variances: (R,).
        rest: (1,) variance of each other direction.
    """

    mean: Floats
    scale: Floats
    directions: Floats
    variances: Floats
    rest: Floats

    @classmethod
    def of(cls, values: Floats, directions: int) -> Gaussian:
        """Fit it to (N, F) values, N ≥ 2."""
        scale = values.std(0)
        scale = np.where(scale > 1e-6 * max(scale.max(), 1e-12), scale, max(scale.max(), 1e-12))
        x = values / scale
        mean = x.mean(0)
        _, singular, basis = np.linalg.svd(x - mean, full_matrices=False)
        variances = singular**2 / max(len(x) - 1, 1)
        kept = max(1, min(directions, len(x) // 3, x.shape[1] - 1))
        left = variances[kept:].sum() / max(x.shape[1] - kept, 1)
        rest = np.array([max(left, 1e-3 * variances.mean(), 1e-12)])
        return cls(mean, scale, basis[:kept], np.maximum(variances[:kept], rest), rest)

    def distances(self, values: Floats) -> Floats:
        """(N, F) → (N,) root of the mean squared standardised deviation; about 1 is usual."""
        centred = values / self.scale - self.mean
        along = centred @ self.directions.T
        off = np.maximum((centred**2).sum(1) - (along**2).sum(1), 0) / self.rest[0]
        out: Floats = np.sqrt(((along**2 / self.variances).sum(1) + off) / values.shape[1])
        return out


@dataclass(frozen=True)
class Stranger:
    """What a classifier finds familiar; small enough to travel with its weights.

    Attributes:
        features: Gaussian of pooled features.
        statistics: Gaussian of `statistics_of`.
        units: (2,) distance of features, of statistics, that VAL rarely exceeds.
        limit: (1,) the larger of both distances, in these units, that 1 % of VAL exceed.
        colour: (1,) share of clearly coloured pixels above which colour is strange; infinite in
            files that were made before colour was looked at.
    """

    features: Gaussian
    statistics: Gaussian
    units: Floats
    limit: Floats
    colour: Floats

    def scores(
        self, features: ArrayLike, pixels: torch.Tensor, colour: ArrayLike | None = None
    ) -> Floats:
        """(N,) strangeness in [0, 1): above `LIMIT` an image should be refused.

        Args:
            features: (N, F) pooled features of the classifier that this belongs to.
            pixels: (N, 1, S, S) uint8, letterboxed as the classifier sees them.
            colour: (N,) `colour_share` of the pictures before they became grey, where known.
        """
        excess = self._excess(np.asarray(features, np.float64), pixels) / self.limit[0]
        out: Floats = excess / (excess + 1)
        return out if colour is None else np.maximum(out, self.colour_scores(colour))

    def colour_scores(self, colour: ArrayLike) -> Floats:
        """(N,) shares of clearly coloured pixels → (N,) strangeness in [0, 1), as `scores`."""
        excess = np.asarray(colour, np.float64) / self.colour[0]
        out: Floats = excess / (excess + 1)
        return out

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Name → numbers, for safetensors."""
        out = {"units": self.units, "limit": self.limit, "colour": self.colour}
        for part in ("features", "statistics"):
            out |= {f"{part}.{name}": v for name, v in asdict(getattr(self, part)).items()}
        return {name: np.ascontiguousarray(v, np.float32) for name, v in out.items()}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, ArrayLike], where: str) -> Stranger:
        """From what `tensors` gave; `where` is for messages.

        Raises:
            InputError: something is missing or of another shape.
        """
        try:
            found = {name: np.asarray(v, np.float64) for name, v in tensors.items()}
            parts = _gaussian(found, "features"), _gaussian(found, "statistics")
            units, limit = found["units"].reshape(2), found["limit"].reshape(1)
            colour = found.get("colour", np.array(np.inf)).reshape(1)
        except (KeyError, ValueError):
            raise InputError(
                f"Expected {where} to say what a classifier finds familiar, but it does not."
            ) from None
        return cls(*parts, units, limit, colour)

    def _excess(self, features: Floats, pixels: torch.Tensor) -> Floats:
        both = np.stack(
            [self.features.distances(features), self.statistics.distances(statistics_of(pixels))]
        )
        out: Floats = (both / self.units[:, None]).max(0)
        return out


def fit_stranger(
    train_features: ArrayLike,
    train_pixels: torch.Tensor,
    val_features: ArrayLike,
    val_pixels: torch.Tensor,
    val_colour: ArrayLike = (0.0,),
) -> Stranger:
    """Learn what is familiar from TRAIN, and how far VAL lies from it.

    Args:
        train_features: (N, F) pooled features of TRAIN images, N ≥ 4.
        train_pixels: (N, 1, S, S) uint8, letterboxed.
        val_features: (M, F) of VAL images, M ≥ 2.
        val_pixels: (M, 1, S, S) uint8.
        val_colour: (M,) `colour_share` of the VAL pictures before they became grey; where more than
            1 % of them exceed `COLOUR_LIMIT`, as tinted images do, the limit is theirs.

    Raises:
        InputError: there are too few images.
    """
    x, v = np.asarray(train_features, np.float64), np.asarray(val_features, np.float64)
    if len(x) < LEAST_TRAIN or len(v) < LEAST_VAL:
        raise InputError(
            f"Expected at least {LEAST_TRAIN} TRAIN and {LEAST_VAL} VAL images to learn what is "
            f"familiar, but got {len(x)} and {len(v)}."
        )
    seen, statistics = statistics_of(train_pixels), statistics_of(val_pixels)
    familiar = Gaussian.of(x, DIRECTIONS), Gaussian.of(seen, seen.shape[1] - 1)
    units = np.array(
        [_rarely_exceeded(g.distances(of)) for g, of in zip(familiar, (v, statistics), strict=True)]
    )
    usual = float(np.quantile(np.asarray(val_colour, np.float64), 0.99))
    colour = np.array([max(COLOUR_LIMIT, usual)])
    made = Stranger(*familiar, units, np.ones(1), colour)
    limit = np.array([_rarely_exceeded(made._excess(v, val_pixels))])
    return replace(made, limit=limit)


def stranger_of(
    predictor: Predictor, train: LabelledImages, val: LabelledImages, val_colour: ArrayLike
) -> Stranger:
    """What a trained classifier finds familiar, from the images it was trained and validated on."""
    side = predictor.image_size_px
    parts = [model_features(predictor.model, part, image_size_px=side) for part in (train, val)]
    return fit_stranger(parts[0], train.pixels, parts[1], val.pixels, val_colour)


def statistics_of(pixels: torch.Tensor) -> Floats:
    """(N, 1, S, S) uint8 → (N, 9) plain statistics at 128 × 128 pixels.

    Grey values (mean, standard deviation, share of black, entropy), texture at two scales (log of
    the high-pass and of the gradient's standard deviation, and their ratio), and how brightness
    falls with depth and varies across.
    """
    return np.stack([_statistics(image[0].numpy()) for image in pixels])


def _statistics(image: NDArray[np.uint8]) -> Floats:
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float64) / 255
    histogram = np.histogram(small, bins=32, range=(0, 1))[0] / small.size
    fine = np.log(cv2.Laplacian(small, cv2.CV_64F).std() + 1e-3)
    coarse = np.log(np.hypot(*np.gradient(cv2.blur(small, (9, 9)))).std() + 1e-4)
    depth = small.mean(1)
    return np.array([
        small.mean(), small.std(), (small < 0.02).mean(),
        -(histogram[histogram > 0] * np.log(histogram[histogram > 0])).sum(),
        fine, coarse, fine - coarse, depth[: _SIDE // 2].mean() - depth[_SIDE // 2 :].mean(),
        small.mean(0).std(),
    ])  # fmt: skip


def _rarely_exceeded(distances: Floats) -> float:
    """What about 1 % of such distances exceed: by rank where there are enough, else log-normal.

    The rank is that of split conformal prediction, ⌈0.99 (n + 1)⌉.
    """
    ordered = np.sort(distances)
    rank = min(int(np.ceil(0.99 * (len(ordered) + 1))), len(ordered))
    logs = np.log(np.maximum(distances, 1e-12))
    expected = float(np.exp(logs.mean() + _NORMAL_99 * logs.std(ddof=1)))
    return (
        max(float(ordered[rank - 1]), expected) if len(ordered) < 99 else float(ordered[rank - 1])
    )


def _gaussian(tensors: Mapping[str, Floats], part: str) -> Gaussian:
    mean, variances = tensors[f"{part}.mean"].ravel(), tensors[f"{part}.variances"].ravel()
    directions = tensors[f"{part}.directions"].reshape(len(variances), len(mean))
    scale = tensors[f"{part}.scale"].reshape(len(mean))
    return Gaussian(mean, scale, directions, variances, tensors[f"{part}.rest"].reshape(1))
