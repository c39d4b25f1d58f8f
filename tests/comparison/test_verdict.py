"""Which classes are asked about, and in what order."""

from __future__ import annotations

import pytest

from sonobalance.comparison.verdict import rarer, verdicts

BUSI = {"benign": 215.3, "malignant": 107.0, "normal": 66.3}
ARMS = ("over-sampling", "single", "dual-one-shot", "dual-iterative")


def document(counts, scarce=None):
    metrics = ["macro_f1", *(f"recall_{name}" for name in counts)]
    arms = {arm: {m: {"value": 0.5, "low": 0.4, "high": 0.6} for m in metrics} for arm in ARMS}
    paired = [
        {"arm": ARMS[-1], "against": other, "metric": m, "difference": 0.1, "low": -0.1,
         "high": 0.3, "verdict": "no clear difference", "sentence": ""}
        for other in ARMS[:-1] for m in metrics
    ]  # fmt: skip
    protocol = {"train_by_class": counts, "scarce": scarce and {"class": scarce, "share": 0.25}}
    return {"arms": arms, "paired": paired, "protocol": protocol, "command": ""}


@pytest.mark.parametrize(
    ("counts", "scarce", "expected"),
    [
        (BUSI, None, ["normal", "malignant"]),
        (BUSI, "malignant", ["malignant", "normal"]),
        (BUSI | {"malignant": 26.9}, "malignant", ["malignant", "normal"]),
        (BUSI, "benign", ["benign", "normal", "malignant"]),  # scarcer, but still the most frequent
        ({"benign": 50.0, "malignant": 50.0}, None, []),
    ],
)
def test_every_class_rarer_than_the_most_frequent_is_asked_about(counts, scarce, expected):
    found = verdicts(document(counts, scarce))
    assert rarer(document(counts, scarce)["protocol"]) == expected
    assert [row["metric"] for row in found] == [
        m for m in ("macro_f1", *(f"recall_{name}" for name in expected)) for _ in ARMS[:-1]
    ]
    assert [row["question"] for row in found[:3]] == [
        "best cheap arm", "one discriminator", "one round"
    ]  # fmt: skip


def test_a_single_round_is_a_question_of_the_loop_with_two_discriminators_alone():
    told = document(BUSI)
    told["arms"]["real-class"] = told["arms"].pop("dual-iterative")
    for row in told["paired"]:
        row["arm"] = "real-class"
    assert "one round" not in {row["question"] for row in verdicts(told)}


def test_malignant_is_answered_beside_the_rarest_class():
    said = [row["sentence"] for row in verdicts(document(BUSI))]
    assert any("recall malignant" in sentence for sentence in said)
    assert any("recall normal" in sentence for sentence in said)
