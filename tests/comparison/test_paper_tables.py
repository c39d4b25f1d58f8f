"""The tables of a benchmark hold the differences of arms, not only the arms."""

from __future__ import annotations

import csv

import pytest

from sonobalance.comparison import outcome, tables

PAIR, BACK, UNCLEAR = (
    "over-sampling against none", "none against over-sampling", "no clear difference",
)  # fmt: skip
METRICS = ("macro_f1", "recall_malignant")


def interval(value, low, high):
    return {"value": value, "low": low, "high": high}


def row(pair, metric, difference, ends, verdict):
    (arm, against), (low, high) = pair.split(" against "), ends
    return {"arm": arm, "against": against, "metric": metric, "difference": difference,
            "low": low, "high": high, "verdict": verdict, "sentence": "Said.",
            "t_low": low, "t_high": high}  # fmt: skip


@pytest.fixture
def document():
    arms = {arm: {m: interval(0.7, 0.6, 0.8) for m in METRICS} for arm in ("none", "over-sampling")}
    paired = [
        row(PAIR, "macro_f1", 0.0314, (0.0101, 0.0502), "better"),
        row(PAIR, "recall_malignant", -0.0271, (-0.2, 0.1), UNCLEAR),
        row(BACK, "macro_f1", -0.0314, (-0.0502, -0.0101), "worse"),
        row(BACK, "recall_malignant", 0.0271, (None, None), UNCLEAR),
    ]
    protocol = {"train_by_class": {"benign": 2.0, "malignant": 1.0}, "scarce": None}
    return {"arms": arms, "paired": paired, "protocol": protocol, "command": "sonobalance 50 %"}


def test_the_second_tabular_holds_each_pair_once_with_its_interval(document):
    latex = tables.latex(document)
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 2
    pairs = latex.split(r"\begin{tabular}")[2]
    assert r"over-sampling against none & \textbf{+0.031} {\scriptsize [0.010, 0.050]}" in pairs
    assert r"$-$0.027 {\scriptsize [$-$0.200, 0.100]} \\" in pairs
    assert "none against over-sampling" not in pairs
    assert "\N{MINUS SIGN}" not in latex
    assert latex.endswith("% sonobalance 50 %\n")


def test_arms_that_share_the_best_value_are_all_bold_and_a_missing_one_never(document):
    nothing = {"value": None, "low": None, "high": None}
    for scores in document["arms"].values():
        scores["macro_auc"] = nothing
    arms = tables.latex(document | {"paired": []})
    assert arms.count(r"\textbf{0.700}") == 4
    assert arms.count(r"\textbf") == 4


def test_a_single_arm_has_no_second_tabular(document):
    alone = document | {"arms": {"none": document["arms"]["none"]}, "paired": []}
    assert tables.latex(alone).count(r"\begin{tabular}") == 1


@pytest.fixture
def written(document, tmp_path, monkeypatch):
    """Write the files of a benchmark without units or page, and read the differences."""
    monkeypatch.setattr(outcome, "prediction_rows", lambda *_: outcome.pd.DataFrame({"id": []}))
    monkeypatch.setattr(outcome.tables, "html", lambda _: "")

    def read(**changes):
        outcome.write_outcome(tmp_path, document | changes, [])
        with (tmp_path / "benchmark-paired.csv").open(newline="") as handle:
            reader = csv.DictReader(handle)
            return list(reader), reader.fieldnames

    return read


def test_every_difference_is_a_row_of_a_csv(written, document):
    rows, names = written()
    assert len(rows) == len(document["paired"])
    assert float(rows[0]["difference"]) == 0.0314
    assert (rows[0]["verdict"], rows[3]["low"]) == ("better", "")
    assert {*tables.PAIRED, "t_low", "t_high"} == set(names)


def test_without_pairs_the_csv_has_its_columns(written):
    assert written(paired=[]) == ([], list(tables.PAIRED))


def test_the_chart_of_the_page_names_both_arms(document, monkeypatch):
    """Rows of one metric against several arms would else look the same."""
    drawn = []
    monkeypatch.setattr(tables, "forest_figure", drawn.extend)
    monkeypatch.setattr(tables, "render_page", lambda *_, **__: "")
    tables.html(document | {"verdicts": document["paired"]})
    said = [row["compared"] for row in drawn]
    assert said == ["over-sampling − none"] * 2 + ["none − over-sampling"] * 2


def test_class_names_with_signs_of_latex_are_text():
    assert tables._tex(r"4^{a}~\ 5%") == (
        r"4\textasciicircum{}\{a\}\textasciitilde{}\textbackslash{} 5\%"
    )
