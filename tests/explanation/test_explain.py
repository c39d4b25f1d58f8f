"""The whole of explanation on a network that is known to look at the lesion."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from toy_networks import Toy, blob_images

from sonobalance.classify.attention import GateMaps
from sonobalance.config import ExplanationSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.errors import InputError
from sonobalance.explanation.dependence import faithfulness_of
from sonobalance.explanation.explain import explain_images
from sonobalance.explanation.localisation import random_map
from sonobalance.explanation.marks import read_marks
from sonobalance.explanation.rival import Rival
from sonobalance.explanation.study import Study
from sonobalance.progress import bar
from sonobalance.randomness import numpy_generator

SIDE, N = 28, 24
FAST = ExplanationSettings(
    heavy_images=3, faithfulness_images=6, sanity_images=3, steps=4, gradient_steps=8,
    gallery_per_class=1, batch_size=7, resamples=200,
)  # fmt: skip

FASTEST = FAST.model_copy(update={"heavy_images": 0, "faithfulness_images": 0, "sanity_images": 0})


def study(settings=FAST, n=N):
    """Half of the images have a bright lesion; the network calls what is bright malignant."""
    images, masks = blob_images(n, SIDE)
    targets = torch.arange(n) % 2
    images[targets == 0] = images[targets == 0].clamp(max=-0.8)
    pixels = ((images + 1) * 127.5).round().to(torch.uint8)
    model = Toy([1.0, 0.0], [[-100.0, 0.0], [100.0, 0.0]])
    model.head.bias = torch.nn.Parameter(torch.tensor([0.0, 176.0]))
    loaded = LabelledImages(
        pixels, targets, tuple(f"case {i}" for i in range(n)), ("benign", "malignant")
    )
    originals = [square.numpy() for square in pixels[:, 0]]
    lesions = [m.numpy() if t else None for m, t in zip(masks, targets, strict=True)]
    groups = [str(i // 4) for i in range(n)]
    return model, model.layer, loaded, originals, lesions, groups, settings


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return explain_images(*study(), seed=0, folder=folder), folder


def test_document_is_json_and_complete(explained):
    document, _ = explained
    json.dumps(document, allow_nan=False)
    assert document["target_layer"] == "features"
    assert (document["n"], document["n_with_mask"], document["groups"]) == (24, 12, 6)
    assert {"grad-cam", "occlusion", "integrated-gradients"} <= set(document["maps"])
    assert document["map_info"]["grad-cam"]["n"] == 12
    assert document["map_info"]["occlusion"]["n"] == 3
    names = [m["name"] for m in document["metrics"]]
    assert names == ["pointing_game", "energy", "energy_ratio", "iou", "below", "border", "marks"]
    for scores in document["maps"].values():
        assert list(scores) == names[:-1]  # no marks were given
    assert document["before_after"] is None


def test_the_map_of_the_right_network_is_on_the_lesion(explained):
    """Inputs are in [-1, 1] and the background is negative, so all positive evidence is lesion."""
    document, _ = explained
    scores = document["maps"]["grad-cam"]
    assert scores["pointing_game"]["value"] == 1
    assert scores["energy"]["value"] == pytest.approx(1, abs=0.01)
    assert scores["iou"]["value"] == pytest.approx(1, abs=0.01)
    assert scores["energy"]["chance"] == pytest.approx(49 / 784)
    assert scores["energy_ratio"]["value"] == pytest.approx(784 / 49, rel=0.02)
    random = document["controls"]["random"]
    assert random["pointing_game"]["value"] < 0.5
    assert random["energy_ratio"]["low"] < 1.5
    assert all(v["value"] > 0 for v in document["faithfulness"]["grad-cam"].values())


def test_right_and_wrong_and_classes(explained):
    document, _ = explained
    right, wrong = document["right_wrong"]["right"], document["right_wrong"]["wrong"]
    assert right["grad-cam"] == document["maps"]["grad-cam"]
    assert wrong == {}
    assert document["by_class"]["malignant"]["grad-cam"]["iou"] == right["grad-cam"]["iou"]
    assert set(document["by_class"]["benign"]["grad-cam"]) == {"border"}


def test_means_can_be_traced_to_the_scores(explained):
    document, folder = explained
    with (folder / "maps" / "scores.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for name in ("grad-cam", "occlusion"):
        for score in ("energy", "iou"):
            values = [float(r["value"]) for r in rows if (r["map"], r["score"]) == (name, score)]
            assert np.mean(values) == pytest.approx(document["maps"][name][score]["value"])
    assert {r["label"] for r in rows if r["score"] == "iou"} == {"malignant"}


def test_cases_are_drawn_and_described(explained):
    document, folder = explained
    assert [c["rule"] for c in document["cases"]] == [
        "right, benign, most confident", "right, malignant, most confident",
    ]  # fmt: skip
    for case in document["cases"]:
        for path in (case["image"], *(panel["image"] for panel in case["panels"])):
            with Image.open(folder / path) as picture:
                assert max(picture.size) == 480
        assert case["id"] in case["alt"]
        assert all(panel["alt"] for panel in case["panels"])
        assert sum(case["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    first, second = ({p["map"]: p for p in case["panels"]} for case in document["cases"])
    assert first["grad-cam"]["energy"] is None
    assert second["grad-cam"]["pointing_game"] == 1
    assert [len(case["outline"]) for case in document["cases"]] == [0, 1]
    assert "the lesion, 6% of the image, lies in the" in document["cases"][1]["alt"]


def test_a_costly_map_is_shown_where_it_was_made(tmp_path):
    settings = FAST.model_copy(update={
        "heavy_images": 24, "faithfulness_images": 0, "sanity_images": 0,
        "gallery_maps": ("integrated-gradients",),
    })  # fmt: skip
    document = explain_images(*study(settings), seed=0, folder=tmp_path)
    shown = {case["label"]: [p["map"] for p in case["panels"]] for case in document["cases"]}
    assert shown == {"benign": [], "malignant": ["integrated-gradients"]}


def test_each_map_is_followed_beside_a_random_one_as_coarse_as_itself():
    """Which is itself, drawn by the same generator at the map's grid: it gains nothing."""
    model, layer, loaded, originals, lesions, groups, settings = study()
    some, seed, n = range(4), 0, len(loaded)
    subject = Study(
        model, layer, loaded, originals, lesions, [None] * n, np.array(groups),
        np.full((n, 2), 0.5), settings, seed,
    )  # fmt: skip
    kept = {"grad-cam": {}, "integrated-gradients": {}, "too coarse": {}}
    for i in some:
        for name, cells in zip(kept, ((SIDE, SIDE), (SIDE, SIDE), (7, 7)), strict=True):
            generator = numpy_generator(seed, "explain", "curve", loaded.ids[i])
            kept[name][i] = torch.from_numpy(random_map(SIDE, SIDE, generator, cells))[None]
    with bar("", 1) as shown:
        found, _, _ = faithfulness_of(subject, kept, list(kept), list(some), shown)
    gained = {name: [one["value"] for one in scores.values()] for name, scores in found.items()}
    assert not any(gained["grad-cam"] + gained["integrated-gradients"])
    assert any(gained["too coarse"])


def test_same_seed_same_bytes_and_old_pictures_go(explained, tmp_path):
    document, folder = explained
    old = tmp_path / "maps" / "old.png"
    old.parent.mkdir()
    old.write_bytes(b"")
    assert explain_images(*study(), seed=0, folder=tmp_path) == document
    assert not old.exists()
    for case in document["cases"]:
        assert (tmp_path / case["image"]).read_bytes() == (folder / case["image"]).read_bytes()


def test_the_true_class_can_be_explained(tmp_path):
    """Told to explain the true class of images it gets wrong, the map turns its sign."""
    settings = FASTEST.model_copy(update={"target": "true"})
    model, layer, images, *rest = study(settings)
    model.head.weight.data *= -1
    model.head.bias.data *= -1
    document = explain_images(model, layer, images, *rest, seed=0, folder=tmp_path)
    assert document["right_wrong"]["right"] == {}
    assert document["maps"]["grad-cam"]["pointing_game"]["value"] == 0
    assert document["faithfulness"] == document["sanity"] == {}
    assert document["map_info"]["grad-cam"]["fit"] is None


def test_the_gallery_says_what_the_predictions_say(tmp_path):
    p = np.tile([0.75, 0.25], (N, 1))
    document = explain_images(*study(FASTEST), seed=0, folder=tmp_path, probabilities=p)
    assert {case["confidence"] for case in document["cases"]} == {0.75}
    assert {case["predicted"] for case in document["cases"]} == {"benign"}
    assert set(document["right_wrong"]["wrong"]) == set(document["maps"])


class Gated(torch.nn.Module):
    """The known network with a gate that has learned nothing."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, images):
        self.seen = len(images)
        return self.inner(images)

    def gates(self):
        return GateMaps(None, torch.ones(self.seen, 1, 4, 4))


def test_a_gate_that_learned_nothing_scores_chance_and_is_called_unfit(tmp_path):
    model, *rest = study()
    document = explain_images(Gated(model), *rest, seed=0, folder=tmp_path)
    for score in document["maps"]["attention-gate"].values():
        assert score["value"] == pytest.approx(score["chance"])
    assert set(document["faithfulness"]) == {"grad-cam", "integrated-gradients"}
    assert document["map_info"]["attention-gate"]["fit"] is False
    assert "flat" in document["sanity"]["attention-gate"]["sentence"]


def test_lists_that_do_not_fit_are_refused(tmp_path):
    model, layer, images, originals, masks, groups, settings = study()
    rest = {"seed": 0, "folder": tmp_path}
    with pytest.raises(InputError, match="as many groups"):
        explain_images(model, layer, images, originals, masks, groups[1:], settings, **rest)
    with pytest.raises(InputError, match=r"shape \(24, 2\)"):
        explain_images(*study(), probabilities=np.ones((24, 3)), **rest)
    cut = [m if m is None else m[1:] for m in masks]
    with pytest.raises(InputError, match="mask of 'case 1'"):
        explain_images(model, layer, images, originals, cut, groups, settings, **rest)
    with pytest.raises(InputError, match="at least one image"):
        explain_images(model, layer, images.take([]), [], [], [], settings, **rest)
    assert not list(tmp_path.iterdir())


def test_without_any_lesion_there_is_still_a_gallery(tmp_path):
    model, layer, images, originals, masks, groups, settings = study()
    document = explain_images(
        model, layer, images, originals, [None] * len(masks), groups, settings,
        seed=0, folder=tmp_path,
    )  # fmt: skip
    assert set(document["maps"]["grad-cam"]) == set(document["controls"]["random"]) == {"border"}
    assert document["map_info"]["grad-cam"]["n"] == 0
    assert len(document["cases"]) == 2


def test_evidence_on_marks(tmp_path):
    """Marks painted where the network looks are seen; the same size elsewhere is not."""
    *given, masks, groups, settings = study(FASTEST)
    shifted = [None if m is None else ~m for m in masks]
    on, off = (
        explain_images(*given, masks, groups, settings, seed=0, folder=tmp_path, marks=marks)
        for marks in (masks, shifted)
    )
    assert on["maps"]["grad-cam"]["marks"]["value"] == pytest.approx(1, abs=0.01)
    assert on["maps"]["grad-cam"]["marks"]["chance"] == pytest.approx(49 / 784)
    assert off["maps"]["grad-cam"]["marks"]["value"] == pytest.approx(0, abs=0.01)


def test_boxes_of_the_audit_become_marks(tmp_path):
    path = tmp_path / "marks.csv"
    path.write_text(
        "id,path,kind,x,y,width,height\na,a.png,text,2,1,3,2\na,a.png,caliper,0,0,1,1\n"
        "z,z.png,text,0,0,9,9\n"
    )
    found = read_marks(path, ["a", "b"], [(5, 6), (5, 6)])
    assert found[1] is None
    expected = np.zeros((5, 6), bool)
    expected[1:3, 2:5] = expected[0, 0] = True
    assert (found[0] == expected).all()
    assert read_marks(tmp_path / "none.csv", ["a"], [(5, 6)]) == [None]


def test_before_and_after(tmp_path):
    """The rival looks at dark pixels, so this model is better on every lesion score."""
    model, layer, images, *rest = study(FASTEST)
    other, other_layer = study()[:2]
    other.features.weight.data *= -1
    p = torch.stack([images.targets == 0, images.targets == 1], 1).double().numpy()

    def change(rival_model, rival_layer, after=False):
        rival = Rival("none", rival_model, rival_layer, p, after=after)
        return explain_images(
            model, layer, images, *rest, seed=0, folder=tmp_path, probabilities=p, rival=rival,
            arm="dual-iterative",
        )["before_after"]  # fmt: skip

    turned = change(other, other_layer)
    assert (turned["before"], turned["after"]) == ("none", "dual-iterative")
    scores = turned["maps"]["grad-cam"]
    assert scores["energy"]["verdict"] == scores["energy_ratio"]["verdict"] == "better"
    pointing = scores["pointing_game"]
    assert (pointing["before"], pointing["after"], pointing["difference"]) == (0, 1, 1)
    assert turned["by_class"]["malignant"]["grad-cam"]["energy"]["verdict"] == "better"
    assert set(turned["by_class"]["benign"]["grad-cam"]) == {"border"}  # no lesions there
    back = change(other, other_layer, after=True)
    assert (back["before"], back["after"]) == ("dual-iterative", "none")
    assert back["maps"]["grad-cam"]["energy"]["verdict"] == "worse"
    same = change(model, layer)["maps"]["grad-cam"]
    assert {row["verdict"] for row in same.values()} == {"no clear difference"}
    assert {row["difference"] for row in same.values()} == {0}


def test_two_patients_decide_nothing(tmp_path):
    """Clear on every image, yet of two groups: no bounds, and nothing is faithful or better."""
    model, layer, images, originals, lesions, _, settings = study()
    other, other_layer = study()[:2]
    other.features.weight.data *= -1
    p = torch.stack([images.targets == 0, images.targets == 1], 1).double().numpy()
    document = explain_images(
        model, layer, images, originals, lesions, [str(i % 2) for i in range(N)], settings,
        seed=0, folder=tmp_path, probabilities=p, rival=Rival("none", other, other_layer, p),
    )  # fmt: skip
    change = document["before_after"]["maps"]["grad-cam"]
    assert change["pointing_game"]["difference"] == 1
    assert {row["verdict"] for row in change.values()} == {"no clear difference"}
    verdicts = {k["verdict"] for kinds in document["sensitivity"].values() for k in kinds.values()}
    assert verdicts == {"no clear difference"}
    for maps in (change, document["maps"]["grad-cam"], document["faithfulness"]["grad-cam"]):
        assert {(row["low"], row["high"]) for row in maps.values()} == {(None, None)}
