import math

import pytest

from sonobalance.comparison.tables import best_values
from sonobalance.evaluation.metrics import metrics_of
from sonobalance.reporting import formatting as f


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"), (-0.5, "−0.500"), (0, "0.000"), ("0.7", "0.700"), (-0.0001, "0.000"),
        (None, "–"), ("", "–"), ("text", "–"), (math.nan, "–"), (math.inf, "–"), (True, "–"),
    ],
)  # fmt: skip
def test_numbers_have_three_decimals_a_true_minus_and_a_dash_for_nothing(value, text):
    assert f.number(value) == text


def test_a_difference_shows_its_sign_unless_it_rounds_to_zero():
    assert [f.signed(x) for x in (0.02, -0.02, 0.0001, None)] == ["+0.020", "−0.020", "0.000", "–"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0123, "0.0123"), (1.5, "1.50"), (123.4, "123"), (31250, "31250"),
     (1.2e-7, "1.20e−07"), (None, "–")],
)  # fmt: skip
def test_compact_keeps_three_significant_digits(value, text):
    assert f.compact(value) == text


def test_intervals_need_both_ends():
    assert f.interval(0.71, 0.8) == "0.710 to 0.800"
    assert f.interval(None, 0.8) == "" == f.interval(0.1, math.nan)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "0.5 s"), (42, "42 s"), (59.8, "60 s"), (65, "1 min 05 s"), (3599.7, "1 h 00 min"),
     (4320, "1 h 12 min"), (None, "–")],
)  # fmt: skip
def test_durations(seconds, text):
    assert f.duration(seconds) == text


def test_counts_words_and_shares():
    assert f.count(12345) == "12\N{NARROW NO-BREAK SPACE}345"
    assert f.plural(1, "image") == "1 image"
    assert f.plural(2, "pair or group", "pairs or groups") == "2 pairs or groups"
    assert f.percent(0.625) == "62 %"
    assert f.percent(0.625, 1) == "62.5 %"


def test_dates_name_the_zone_only_where_it_is_utc():
    assert f.date("2026-03-01T10:05:00+00:00") == "1 March 2026, 10:05 UTC"
    assert f.date("2026-03-01T10:05:00") == "1 March 2026, 10:05"
    assert f.date("soon") == "soon"


def test_metric_names_and_direction():
    assert f.metric_name("macro_f1") == "Macro-F1"
    assert f.metric_name("recall_benign") == "Recall benign"
    assert f.metric_name("recall_BI-RADS_4A") == "Recall BI-RADS_4A"
    lower = {m.name for m in metrics_of(("benign",), 10) if not m.higher_is_better}
    assert {name for name in lower if f.lower_is_better(name)} == lower
    assert not f.lower_is_better("macro_auc")


@pytest.mark.parametrize("name", ["receptor", "recent", "error", "terror"])
def test_the_name_of_a_class_does_not_turn_a_metric_around(name):
    assert not f.lower_is_better(f"recall_{name}")
    arms = {"none": {f"recall_{name}": {"value": 0.2}}, "focal": {f"recall_{name}": {"value": 0.9}}}
    assert best_values({"arms": arms}) == {f"recall_{name}": 0.9}
