"""What is explained: a model, the images of one part, and what is known about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sonobalance.config import ExplanationSettings
from sonobalance.data.images import Gray, Letterbox, Mask, letterbox_of
from sonobalance.data.loading import LabelledImages, to_unit
from sonobalance.errors import InputError
from sonobalance.evaluation.intervals import group_weights
from sonobalance.evaluation.metrics import Floats
from sonobalance.explanation.inputs import Inputs, inside_of
from sonobalance.explanation.layers import Layer
from sonobalance.explanation.localisation import Regions
from sonobalance.explanation.maps import Cost, probabilities_of
from sonobalance.randomness import numpy_generator

CHECK_POINTS = 8


@dataclass(frozen=True)
class Study:
    """N images, the model whose decisions on them are explained, and how.

    Attributes:
        model: (N, 1, S, S) float32 in [-1, 1] → (N, K) logits.
        layer: where class activation maps look.
        images: the letterboxed images.
        originals: N grey images (H, W) uint8, each in its own size.
        masks: N lesions (H, W) bool; None or all False where there is none.
        marks: N burnt-in marks (H, W) bool; None or all False where there are none.
        groups: (N,) group of each image.
        probabilities: (N, K) float64 of the model.
        settings: see `config.ExplanationSettings`.
        seed: seed of samples and controls.
        mirror: whether the probabilities, and so the maps, are means over an image and its mirror.
    """

    model: nn.Module
    layer: Layer
    images: LabelledImages
    originals: Sequence[Gray]
    masks: Sequence[Mask | None]
    marks: Sequence[Mask | None]
    groups: NDArray[np.str_]
    probabilities: NDArray[np.float64]
    settings: ExplanationSettings
    seed: int
    mirror: bool = False

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) index of the true class."""
        labels: NDArray[np.int64] = self.images.targets.numpy()
        return labels

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(N,) index of the predicted class."""
        predicted: NDArray[np.int64] = self.probabilities.argmax(1)
        return predicted

    @property
    def explained(self) -> NDArray[np.int64]:
        """(N,) index of the class whose evidence is mapped."""
        return self.predicted if self.settings.target == "predicted" else self.labels

    @property
    def cost(self) -> Cost:
        """How much one pass may hold."""
        return Cost(self.settings.batch_size, self.settings.gradient_steps, self.mirror)

    @property
    def cost_of_checks(self) -> Cost:
        """The same for sanity checks, which compare maps with themselves: coarser, no mirror."""
        points = min(CHECK_POINTS, self.settings.gradient_steps)
        return Cost(self.settings.batch_size, points)

    def lesion(self, i: int) -> Mask | None:
        """The lesion of image `i`, or None where no pixel is marked, or every one."""
        return _some(self.masks[i])

    def regions(self, i: int) -> Regions:
        """What is known about where things are in image `i`."""
        return Regions(self.lesion(i), _some(self.marks[i]))

    def resamples(self, index: Sequence[int]) -> Floats:
        """(R, n) group-clustered bootstrap weights of the images at `index`."""
        generator = numpy_generator(self.seed, "explain", "bootstrap")
        return group_weights(self.groups[list(index)], self.settings.resamples, generator)

    def box(self, i: int) -> Letterbox:
        """How image `i` was fitted into the square."""
        height, width = self.originals[i].shape
        return letterbox_of(height, width, self.images.pixels.shape[-1])

    def inputs(self, index: Sequence[int]) -> Inputs:
        """What the maps of these images are made of, for the explained classes."""
        rows, inside = np.asarray(index, np.int64), inside_of([self.box(i) for i in index])
        targets = torch.from_numpy(self.explained[rows])
        return Inputs(to_unit(self.images.pixels[rows]), targets, inside)

    def channel_gates(self, index: Sequence[int]) -> NDArray[np.float32] | None:
        """(n, C) gates of the last gated stage for these images; None for a network without."""
        read = getattr(self.model, "gates", None)
        if not callable(read):
            return None
        probabilities_of(self.model, self.inputs(index).images, len(index))
        channel = read().channel
        return None if channel is None else channel.float().cpu().numpy()

    def sample(self, size: int, name: str, *, with_lesion: bool = False) -> list[int]:
        """Positions of a random sample that takes the true classes in turn.

        Args:
            size: most images to take.
            name: what the sample is for; another name gives another sample.
            with_lesion: take images with a lesion only.
        """
        order = numpy_generator(self.seed, "explain", name).permutation(len(self))
        pool = [int(i) for i in order if not with_lesion or self.lesion(int(i)) is not None]
        turn = dict.fromkeys(range(len(self.images.classes)), 0)
        ranked = []
        for i in pool:
            label = int(self.labels[i])
            ranked.append((turn[label], label, i))
            turn[label] += 1
        return sorted(i for _, _, i in sorted(ranked)[:size])


def _some(mask: Mask | None) -> Mask | None:
    """The mask, or None where it marks nothing or everything."""
    return mask if mask is not None and mask.any() and not mask.all() else None


def check_lists(
    images: LabelledImages,
    originals: Sequence[Gray],
    *,
    masks: Sequence[Mask | None],
    marks: Sequence[Mask | None],
    groups: Sequence[str],
    probabilities: NDArray[np.float64] | None = None,
) -> None:
    """Raise `InputError` when the lists differ in length, or an array in shape from its images."""
    if len(images) == 0:
        raise InputError("Expected at least one image to explain, but got none.")
    lengths = {
        "originals": len(originals), "masks": len(masks), "marks": len(marks),
        "groups": len(groups),
    }  # fmt: skip
    for name, length in lengths.items():
        if length != len(images):
            raise InputError(
                f"Expected as many {name} as images, but got {length} for {len(images)}."
            )
    expected = (len(images), len(images.classes))
    if probabilities is not None and probabilities.shape != expected:
        raise InputError(
            f"Expected `probabilities` to have the shape {expected}, but got {probabilities.shape}."
        )
    for key, image, *regions in zip(images.ids, originals, masks, marks, strict=True):
        for region in regions:
            if region is not None and region.shape != image.shape:
                raise InputError(
                    f"Expected the mask of {key!r} to have its image's shape {image.shape}, but "
                    f"got {region.shape}."
                )
