"""The model card claims what is true of this very bundle."""

from __future__ import annotations

import pytest
from made_up_bundle import description

from sonobalance.deployment.card import model_card

APART = "none of them related to a training image"
TOO_GOOD = "every number is too good"


@pytest.mark.parametrize(
    ("leaky", "said", "unsaid"), [(False, APART, TOO_GOOD), (True, TOO_GOOD, APART)]
)
def test_the_card_tells_a_leaky_test_from_an_honest_one(leaky, said, unsaid):
    card = model_card(description(leaky=leaky))
    assert said in card
    assert unsaid not in card


def test_the_card_names_the_level_of_its_intervals():
    assert "90 % intervals" in model_card(description(confidence=0.9))
    assert "97.5 % intervals" in model_card(description(confidence=0.975))


def test_the_card_promises_refusals_only_where_there_are_any():
    assert "is not answered" in model_card(description(refuses=True))
    assert "every image is answered" in model_card(description(refuses=False))


def test_what_an_older_bundle_does_not_say_is_not_claimed():
    card = model_card(description())
    assert APART not in card
    assert TOO_GOOD not in card
    assert " % intervals" not in card
