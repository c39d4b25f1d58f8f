"""Target counts, stop rules and the text that names parents, one case each."""

import pytest

from sonobalance.config import SynthesisSettings
from sonobalance.errors import SettingsError
from sonobalance.gan.sampling import Parents
from sonobalance.synthesis.ledger import Candidate, RoundRecord
from sonobalance.synthesis.provenance import describe_parents, parent_ids
from sonobalance.synthesis.stopping import stop_reason
from sonobalance.synthesis.targets import target_counts

PRESENT = {"benign": 40, "malignant": 12, "normal": 20}
DEFAULT = SynthesisSettings()
MISSING = {"benign": 0, "malignant": 5}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"benign": 40, "malignant": 40, "normal": 40}),
        ({"target": "ratio", "ratio": 0.4}, {"benign": 40, "malignant": 16, "normal": 20}),
        ({"target": "ratio", "ratio": 2.0}, {"benign": 80, "malignant": 80, "normal": 80}),
        (
            {"target": "counts", "counts": {"malignant": 30}},
            {"benign": 40, "malignant": 30, "normal": 20},
        ),
    ],
)
def test_targets(settings, expected):
    assert target_counts(PRESENT, SynthesisSettings(**settings)) == expected


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ({"malignant": 5}, "malignant=5 < 12"),
        ({"cyst": 5}, "'cyst'"),
        ({}, "it is empty"),
    ],
)
def test_impossible_targets_are_refused(counts, sentence):
    with pytest.raises(SettingsError, match=sentence):
        target_counts(PRESENT, SynthesisSettings(target="counts", counts=counts))


def record(number: int, *, made: int = 10, **row: float) -> RoundRecord:
    candidate = Candidate("", number, "", 0, 0, *[0.0] * 7, "", 0.0, "", False, "")
    usual = {"round": number, "macro_f1": 0.5, "acceptance": 0.5, "twins_a": 0.1, "coverage_a": 0.4}
    return RoundRecord(number, (candidate,) * made if number else (), usual | row, [], {})


@pytest.mark.parametrize(
    ("rounds", "reason"),
    [
        ([record(0)], None),
        ([record(0), record(1, macro_f1=0.6)], None),
        ([record(0), record(1, twins_a=0.51)], "collapse: 51% of the a"),
        ([record(0), record(1, acceptance=0.01)], "acceptance below floor: 1.0%"),
        ([record(0), record(1, macro_f1=0.6), record(2, macro_f1=0.7, coverage_a=0.27)],
         "coverage falling"),
        ([record(0), record(1), record(2)], "no gain"),
        ([record(0), record(1, macro_f1=0.5005), record(2, macro_f1=0.501)], "no gain"),
        ([record(0), record(1), record(2, macro_f1=0.6)], None),
        ([record(0), record(1), record(2, macro_f1=0.6), record(3)], "budget: all 3 rounds"),
        ([record(0), record(1, made=30)], "budget: 30 candidates"),
    ],
)  # fmt: skip
def test_stop_rules(rounds, reason):
    settings = DEFAULT.model_copy(update={"max_candidates": 25})
    found = stop_reason(rounds, MISSING, settings)
    assert (found or "").startswith(reason or "")
    assert (found is None) == (reason is None)


def test_balanced_stops_before_any_round():
    assert stop_reason([record(0)], {"benign": 0}, DEFAULT).startswith("balanced")


def test_parents_are_read_as_they_were_written_whatever_their_names():
    ids = ("a/p|0", "b:1", "c")
    text = describe_parents(Parents(ids, (0.25, 0.5, 0.25)))
    assert parent_ids(text) == ["b:1", "a/p|0", "c"]
    assert parent_ids("") == []
