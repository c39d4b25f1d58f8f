"""Benchmarks of several versions answer the same questions."""

from __future__ import annotations


def test_verdicts_are_taken_anew(module):
    arms, metrics = ("over-sampling", "dual-iterative"), ("macro_f1", "recall_b", "recall_c")
    score = {"value": 0.5, "low": 0.4, "high": 0.6}
    document = {
        "arms": {arm: dict.fromkeys(metrics, score) for arm in arms},
        "paired": [
            {"arm": arms[1], "against": arms[0], "metric": m, "difference": 0.1, "low": 0.05,
             "high": 0.2, "verdict": "better", "sentence": ""}
            for m in metrics
        ],
        "verdicts": [],  # of a version that asked otherwise
        "protocol": {
            "scarce": {"class": "b", "share": 0.25},
            "train_by_class": {"a": 9.0, "b": 5.0, "c": 4.0},
            "settings": {"gan": {"image_size_px": 64}},
        },
        "command": "", "n": 9, "groups": 9, "classes": ["a", "b", "c"],
    }  # fmt: skip
    scarcity = module("summarise_scarcity")
    level = scarcity.level(document)
    assert [row["metric"] for row in level["verdicts"]] == [*metrics]
    assert document["verdicts"] == []
    said = scarcity.answer(level)
    assert said.index("recall b") < said.index("recall c")
