"""fit_resample on arrays, and the data set of a run, inside other people's training code."""

import numpy as np
import pytest
from conftest import TINY, WIDE
from growth_stubs import toy_set

from sonobalance import SyntheticBalancer
from sonobalance.errors import InputError

COUNTS = (12, 8)


@pytest.fixture(scope="module")
def resampled(tmp_path_factory):
    train, groups = toy_set(COUNTS)
    images = [pixels[0].numpy() for pixels in train.pixels]
    labels = np.array([train.classes[k] for k in train.targets])
    synthesis = WIDE.model_copy(update={"realism_pass": 0.99, "rounds": 1})
    balancer = SyntheticBalancer(
        gan=TINY, synthesis=synthesis, folder=tmp_path_factory.mktemp("fit"), every_round=True
    )
    return balancer, images, labels, *balancer.fit_resample(images, labels, groups)


def test_real_images_come_first_and_flags_tell_the_rest(resampled):
    balancer, images, labels, pixels, names = resampled
    n = len(images)
    assert pixels.shape == (len(names), 32, 32)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels[:n], np.stack(images))
    assert names[:n].tolist() == labels.tolist()
    assert balancer.sample_is_synthetic_.tolist() == [False] * n + [True] * (len(names) - n)
    assert len(balancer.sample_ids_) == len(names)
    assert set(names[n:]) <= {"malignant"}
    assert balancer.report_["accepted"] == len(names) - n


def test_labels_keep_their_type_and_a_finished_fit_is_not_repeated(resampled):
    balancer, images, labels, pixels, names = resampled
    again, same = balancer.fit_resample(images, labels, [f"{l} {i // 2}" for i, l in
                                                         enumerate(labels)])  # fmt: skip
    assert np.array_equal(again, pixels)
    assert same.dtype == names.dtype


def test_what_does_not_fit_together_is_refused():
    image = np.zeros((40, 40), np.uint8)
    with pytest.raises(InputError, match="2 and 1"):
        SyntheticBalancer().fit_resample([image, image], [0])
    with pytest.raises(InputError, match=r"image 1 .* \(40, 40, 3\)"):
        SyntheticBalancer().fit_resample([image, np.zeros((40, 40, 3), np.uint8)], [0, 1])
    with pytest.raises(InputError, match="group for each"):
        SyntheticBalancer().fit_resample([image, image], [0, 1], groups=["a"])
