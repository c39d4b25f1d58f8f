"""The stage `explain` finds the lesions that the generator drew."""

import torch

from sonobalance import explaining
from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.predict import Predictor
from sonobalance.runs import open_run


def test_explain_scores_maps_on_accepted_images_with_a_drawn_lesion(masked_run, run_folder):
    classes = ("benign", "malignant")
    torch.manual_seed(0)
    model = AttentiveClassifier("test_resnet", 2, "none", 32).eval()
    predictor = Predictor(model, classes, 32, 1.0, False, {})
    run = open_run(masked_run)
    found = explaining._on_generated(run, "dual-iterative", predictor)
    assert found is not None
    assert 1 < found["n"] <= len(list((masked_run / "synthesis/masks").rglob("*.png")))
    assert found["trained_on"]
    assert found["maps"]["grad-cam"]["energy"]["chance"] > 0
    few = run.settings.explanation.model_copy(update={"generated_images": 1})
    run.settings = run.settings.model_copy(update={"explanation": few})
    assert explaining._on_generated(run, "dual-iterative", predictor)["n"] == 1
    few = few.model_copy(update={"generated_images": 0})
    run.settings = run.settings.model_copy(update={"explanation": few})
    assert explaining._on_generated(run, "dual-iterative", predictor) is None
    run = open_run(masked_run)
    other = explaining._on_generated(run, "over-sampling", predictor)
    assert other == found | {"trained_on": False}
    assert explaining._on_generated(open_run(run_folder), "dual-iterative", predictor) is None
