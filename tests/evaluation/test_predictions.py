"""Tables of predictions: what is refused, and in which words."""

import pandas as pd
import pytest

from sonobalance.errors import InputError
from sonobalance.evaluation.predictions import (
    arm_predictions,
    check_predictions,
    read_predictions,
    write_predictions,
)


def table(**changes):
    frame = pd.DataFrame(
        {
            "arm": ["none", "none"], "id": ["b", "NA"], "path": ["b.png", "001.png"],
            "part": ["test", "test"], "label": ["x", "y"], "group": ["1", "01"],
            "predicted": ["x", "x"], "p_x": [0.75, 0.5], "p_y": [0.25, 0.5],
        }
    )  # fmt: skip
    return frame.assign(**changes)


def test_text_stays_text(tmp_path):
    path = tmp_path / "p.csv"
    write_predictions(path, table())
    back = read_predictions(path)
    assert back["id"].tolist() == ["b", "NA"]
    assert back["group"].tolist() == ["1", "01"]


def test_rows_are_sorted_by_id_and_targets_index_the_classes():
    data = arm_predictions(check_predictions(table()), "none", "test")
    assert data.ids == ("NA", "b")
    assert data.targets.tolist() == [1, 0]
    assert data.probabilities.tolist() == [[0.5, 0.5], [0.75, 0.25]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"p_x": [float("nan"), 0.5]}, "numbers in .0, 1.*p_x=nan.*'b'"),
        ({"p_x": ["high", 0.5]}, "numbers in .0, 1"),
        ({"p_x": [1.25, 0.5], "p_y": [-0.25, 0.5]}, "numbers in .0, 1"),
        ({"p_x": [0.9, 0.5]}, "sum to 1"),
        ({"predicted": ["y", "x"]}, "most probable class"),
        ({"predicted": ["z", "x"]}, "`predicted`.*'z'"),
        ({"label": ["x", ""]}, "`label`.*''.*'NA'"),
        ({"part": ["test", "train"]}, "`part`.*'train'"),
        ({"group": ["1", ""]}, "to have a group"),
        ({"id": ["b", "b"]}, "once per arm.*'b'"),
    ],
)
def test_bad_values_are_named(changes, words):
    with pytest.raises(InputError, match=words):
        check_predictions(table(**changes))


def test_missing_columns_are_named():
    with pytest.raises(InputError, match=r"column\(s\) group"):
        check_predictions(table().drop(columns="group"))
    with pytest.raises(InputError, match="two or more classes"):
        check_predictions(table().drop(columns=["p_y"]))
    with pytest.raises(InputError, match="to have rows"):
        check_predictions(table().iloc[:0])


def test_a_synthetic_image_is_refused(tmp_path):
    path = tmp_path / "p.csv"
    write_predictions(path, table())
    assert len(read_predictions(path, known_ids={"b", "NA", "other"})) == 2
    with pytest.raises(InputError, match=r"only real images.*'b'"):
        read_predictions(path, known_ids={"NA"})


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(InputError, match="run `predict` first"):
        read_predictions(tmp_path / "none.csv")
    broken = tmp_path / "broken.csv"
    broken.write_bytes(b"\x89PNG\x00\xff")
    with pytest.raises(InputError, match="CSV of predictions"):
        read_predictions(broken)
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    with pytest.raises(InputError, match="CSV of predictions"):
        read_predictions(empty)


def test_nothing_is_written_when_the_table_is_bad(tmp_path):
    with pytest.raises(InputError):
        write_predictions(tmp_path / "p.csv", table(p_x=[0.9, 0.5]))
    assert not (tmp_path / "p.csv").exists()
