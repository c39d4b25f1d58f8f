"""Cases are chosen by rule, and drawn."""

import numpy as np
from PIL import Image

from sonobalance.explanation.gallery import choose_cases, draw_case, file_name

IDS = tuple("abcdefgh")
CLASSES = ("benign", "malignant", "normal")
LABELS = np.array([0, 0, 0, 0, 0, 1, 1, 1])
PREDICTED = np.array([0, 0, 0, 0, 2, 1, 0, 0])
CONFIDENCE = np.array([0.7, 0.9, 0.6, 0.8, 0.5, 0.4, 0.5, 0.5])


def chosen(per_class):
    cases = choose_cases(
        LABELS, PREDICTED, CONFIDENCE, ids=IDS, classes=CLASSES, per_class=per_class
    )
    return [(IDS[case.index], case.rule) for case in cases]


def test_two_of_each():
    assert chosen(2) == [
        ("b", "right, benign, most confident"),
        ("c", "right, benign, least confident"),
        ("e", "wrong, benign, the only one"),
        ("f", "right, malignant, the only one"),
        ("g", "wrong, malignant, most confident"),
        ("h", "wrong, malignant, least confident"),
    ]


def test_places_between_are_evenly_spaced():
    assert ("d", "right, benign, number 2 of 4 by confidence") in chosen(4)
    assert [key for key, rule in chosen(1) if rule.startswith("right, benign")] == ["b"]
    assert len(chosen(100)) == len(IDS)


def test_file_names_are_safe_and_unique():
    names = [file_name(key) for key in ("a/b (1)", "a-b-1", "../x", "ü" * 300, "")]
    assert len(set(names)) == 5
    for name in names:
        assert name.isascii()
        assert "/" not in name
        assert len(name) < 60


def test_a_picture_has_a_panel_per_map_and_marks_the_evidence(tmp_path):
    image = np.full((60, 90), 100, np.uint8)
    lesion = np.zeros((60, 90), bool)
    lesion[20:40, 30:60] = True
    map_ = lesion.astype(np.float32) - 0.5
    empty = np.full((60, 90), -1.0, np.float32)
    path = tmp_path / "maps" / "case.png"
    maps = {"cam": map_, "faint": 1e-4 * map_, "nothing": empty}
    draw_case(path, image, lesion, maps, least_peaks={"faint": 0.1}, text={"Title": "case 1"})
    with Image.open(path) as opened:
        picture = np.asarray(opened).astype(int)
        assert opened.text["Title"] == "case 1"
    assert picture.ndim == 3
    rows = slice(30, 30 + int(260 * 60 / 90))  # without titles and scales
    panels = np.array_split(picture[rows], 4, axis=1)
    plain, strong, faint, nothing = (np.ptp(panel, axis=2).mean() for panel in panels)
    assert plain > 0.2  # the outline is the only colour
    assert strong > 5 * plain
    assert faint < 1.5 * plain
    assert nothing < 1.2 * plain
