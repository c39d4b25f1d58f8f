import re

import pytest

from sonobalance.reporting.charts import SERIES, beside, canvas, svg
from sonobalance.reporting.figures import curves_figure, parts_figure, reasons_figure
from sonobalance.reporting.score_figures import (
    calibration_figure,
    decision_figure,
    faithfulness_figure,
    forest_figure,
    localisation_figure,
    roc_figure,
)


def drawing(name="one"):
    with canvas(300, 200) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=SERIES[0], label="a line")
        axes.set_xlim(0, 0.5)
        axes.set_title("<b> & co")
        beside(axes, 0.2, 0.5, "12")
        axes.legend()
        return str(svg(figure, name, 'what "it" shows'))


def test_identifiers_of_two_drawings_on_one_page_never_meet_and_all_references_resolve():
    first, second = drawing("one"), drawing("two")
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for text, own in zip((first, second), ids, strict=True):
        assert set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text)) <= own


def test_a_drawing_follows_the_page_and_names_nothing_outside():
    text = drawing()
    assert "var(--c1)" in text
    assert "var(--muted)" in text
    assert not re.findall(r"#0[0-9a-f]{5}\b", text)
    assert "http" not in text
    assert "<style" not in text
    assert "DejaVu" not in text


def test_text_stays_text_and_is_escaped():
    text = drawing()
    assert "&lt;b&gt; &amp; co" in text
    assert "<b>" not in text
    assert 'aria-label="what &#34;it&#34; shows"' in text
    assert ">12</text>" in text


def test_a_class_name_is_never_read_as_mathematics():
    names = ["cost $5_$", "$a$", "_b"]
    text = str(parts_figure({(name, "train"): 5 for name in names}, names))
    assert all(f">{name}</text>" in text for name in names)


def test_equal_data_give_equal_bytes():
    assert drawing() == drawing()


def test_the_viewbox_holds_the_drawing():
    found = re.search(r'viewBox="0 0 (\S+) (\S+)" width="(\d+)" height="(\d+)"', drawing())
    assert found
    assert [float(x) for x in found.groups()] == [225, 150, 300, 200]


@pytest.mark.parametrize(
    "nothing",
    [
        parts_figure({}, ()), reasons_figure({}), forest_figure([{"metric": "x"}]),
        curves_figure([{"kimg": 1, "a": 2}], {"a": "A"}, key="k", title="t"),
        calibration_figure({"none": {"bins": [{"confidence": None, "accuracy": None}]}}),
        localisation_figure([("map", {"value": None})], "iou", "n"), faithfulness_figure({}, "x"),
    ],
)  # fmt: skip
def test_without_data_there_is_no_figure(nothing):
    assert nothing is None


def test_no_roc_of_a_class_that_is_absent():
    line = {"fpr": [0, 1], "tpr": [0, 1]}
    assert len(roc_figure({"none": {"a": line, "b": None}}, ["a", "b"], {})) == 1
    benefit = {"threshold": [0.1, 0.2], "net_benefit": [0.3, 0.2], "act_on_all": [0.1, 0]}
    assert len(decision_figure({"none": {"a": benefit, "b": None}}, ["a", "b"])) == 1


def test_a_chart_tells_its_numbers_to_readers_who_cannot_see_it():
    row = {"metric": "accuracy", "arm": "x", "difference": 0.02, "low": -0.01, "high": 0.05}
    assert "Accuracy +0.020 (−0.010 to 0.050)" in str(forest_figure([row]))
    assert "copy 7, twin 2" in str(reasons_figure({"twin": 2, "copy": 7}))
    counts = {("benign", "train"): 5, ("benign", "test"): 1}
    assert "benign: 5 TRAIN, 1 TEST" in str(parts_figure(counts, ["benign"]))


def test_points_of_a_log_without_a_value_are_left_out():
    rows = [{"kimg": 1, "a": 1.0}, {"kimg": 2}, {"kimg": 3, "a": 2.0}]
    path = re.search(r'<path d="([^"]+)" clip-path', str(
        curves_figure(rows, {"a": "A"}, key="k", title="t", mark=2.0)
    ))  # fmt: skip
    assert path
    assert len(re.findall("[ML]", path[1])) == 2
