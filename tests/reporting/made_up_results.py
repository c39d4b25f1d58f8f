"""The made-up files about results: evaluation, choice of the arm, explanations."""

import cv2
from made_up_files import CLASSES, interval, speckle, write_document, write_rows

ARMS = ("none", "dual-iterative")


def arm_scores(shift):
    names = {
        "accuracy": 0.8, "balanced_accuracy": 0.76, "macro_f1": 0.75, "macro_auc": 0.9, "ece": 0.08,
        "brier": 0.3, "log_loss": 0.6,
        **{f"recall_{c}": 0.7 for c in CLASSES}, **{f"auc_{c}": 0.9 for c in CLASSES},
    }  # fmt: skip
    return {name: interval(value + shift) for name, value in names.items()}


def evaluation_file(run):
    curve = {"fpr": [0, 0.1, 0.4, 1], "tpr": [0, 0.6, 0.9, 1]}
    bins = [
        {"low": i / 10, "high": (i + 1) / 10, "count": 3 * i, "confidence": i / 10 + 0.05,
         "accuracy": i / 10 if i > 3 else None}
        for i in range(10)
    ]  # fmt: skip
    calibrated = {"ece": interval(0.04, 0.02), "brier": interval(0.28), "log_loss": interval(0.5)}
    write_document(run / "evaluation.json", {
        "classes": CLASSES, "n": 156, "groups": 120, "n_val": 130,
        "n_by_class": {"benign": 88, "malignant": 42, "normal": 26},
        "groups_by_class": {"benign": 70, "malignant": 32, "normal": 18},
        "arms": {arm: arm_scores(0.02 * i) for i, arm in enumerate(ARMS)},
        "metrics": [
            {"name": "accuracy", "higher_is_better": True, "sentence": "Share of right answers."},
            {"name": "ece", "higher_is_better": False, "sentence": "Gap of confidence and truth."},
        ],
        "paired": [
            {"arm": "dual-iterative", "against": "none", "metric": m, "difference": 0.02,
             "low": -0.01, "high": 0.05, "verdict": "no clear difference", "sentence": "…"}
            for m in ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "ece")
        ],
        "confusion": {arm: [[75, 9, 4], [8, 31, 3], [5, 1, 20]] for arm in ARMS},
        "calibration": {
            arm: {"bins": bins, "temperature": 1.31, "uncalibrated": {"ece": interval(0.11, 0.02)},
                  "calibrated": calibrated} for arm in ARMS
        },
        "roc": {arm: dict.fromkeys(CLASSES, curve) for arm in ARMS},
        "decision": {arm: {c: {"threshold": [0.1, 0.5, 0.9], "net_benefit": [0.3, 0.2, 0.0],
                               "act_on_all": [0.3, 0.0, -3.0]} for c in CLASSES} for arm in ARMS},
        "operating": {arm: {
            "malignant": {"sensitivity_wanted": 0.95, "threshold": 0.21,
                          "sensitivity": interval(0.93), "specificity": interval(0.71)},
            "normal": None} for arm in ARMS},
        "conformal": {arm: {"coverage_wanted": 0.9, "coverage": interval(0.89),
                            "mean_size": interval(1.4), "single_share": 0.64, "empty_share": 0.0}
                      for arm in ARMS},
        "warnings": ["Only 18 independent groups of normal in TEST: its scores are uncertain."],
        "method": "Intervals: 2000 resamples of independent groups, percentiles.",
        "settings": {"confidence": 0.95}, "seed": 0,
    })  # fmt: skip


def predictions_file(run):
    write_rows(run / "predictions.csv", [
        {"arm": arm, "id": "benign/benign (5)", "part": "test", "label": "benign", "group": "g004",
         "predicted": "benign", "p_benign": 0.8, "p_malignant": 0.1, "p_normal": 0.1}
        for arm in ARMS
    ])  # fmt: skip


def arms_file(run):
    write_document(run / "classifier" / "arms.json", {
        "chosen": "dual-iterative", "val_macro_f1": {"none": 0.74, "dual-iterative": 0.77},
    })  # fmt: skip


def localisation(shift=0.0):
    return {
        "pointing_game": {**interval(0.8 + shift), "chance": 0.14},
        "energy_ratio": {**interval(3.1 + shift, 0.3), "chance": 1.0},
        "iou": {**interval(0.35 + shift), "chance": 0.08},
    }


CHANGE = {"before": 0.5, "after": 0.6, "difference": 0.1, "low": 0.02, "high": 0.2,
          "verdict": "better"}  # fmt: skip


def explanation_file(run, rng):
    (run / "maps").mkdir(exist_ok=True)
    cases = []
    for i in range(6):
        label, predicted = CLASSES[i % 3], CLASSES[i % 3 if i < 3 else (i + 1) % 3]
        gray = speckle(rng, label)
        color = cv2.applyColorMap(cv2.GaussianBlur(gray, (0, 0), 9), cv2.COLORMAP_VIRIDIS)
        cv2.imwrite(str(run / "maps" / f"{i}.png"), gray)
        cv2.imwrite(str(run / "maps" / f"{i}-cam.png"), color)
        cases.append({
            "id": f"{label}/{label} ({i + 1})", "label": label, "predicted": predicted,
            "correct": label == predicted, "confidence": 0.7, "image": f"maps/{i}.png",
            "probabilities": {c: 0.7 if c == predicted else 0.15 for c in CLASSES},
            "alt": f"Image {i}.", "rule": "right, most confident", "explained": predicted,
            "outline": [[[0.2, 0.2], [0.6, 0.2], [0.4, 0.7]]] if label != "normal" else [],
            "panels": [{
                "map": name, "image": f"maps/{i}-cam.png", "peak": 0.034, "alt": f"{name} of {i}.",
                "energy": 0.42 if label != "normal" else None, "pointing_game": 1,
            } for name in ("grad-cam", "attention-gate")],
            "set": {"classes": [predicted, label], "coverage": 0.9}, "strangeness": 0.2,
            "channels": {"count": 320, "amplified": 12, "silenced": 3},
            "neighbours": [
                {"id": "missing", "label": label, "origin": "real", "likeness": 0.91},
                {"id": "r1-missing", "label": label, "origin": "synthetic", "likeness": 0.88},
            ],
        })  # fmt: skip
    maps = {"grad-cam": localisation(), "attention-gate": localisation(-0.1)}
    areas = {
        f"{k}_{b}": interval(0.12)
        for k in ("deletion", "insertion")
        for b in ("blur", "local_mean", "road")
    }
    curve = {"share": [0, 0.5, 1], "map": [0.9, 0.3, 0.1], "random": [0.9, 0.6, 0.1]}
    write_document(run / "explanation.json", {
        "classes": CLASSES, "n": 156, "n_with_mask": 130, "groups": 100, "target": "predicted",
        "target_layer": "blocks.6", "maps": maps,
        "map_info": {name: {"sentence": f"{name} in words.", "n": 130, "fit": name == "grad-cam"}
                     for name in maps},
        "controls": {"random": localisation(-0.3)},
        "generated": {"trained_on": True, "n": 41, "maps": maps,
                      "controls": {"random": localisation(-0.3)}},
        "by_class": dict.fromkeys(CLASSES[:2], maps), "right_wrong": {"right": maps, "wrong": maps},
        "faithfulness": dict.fromkeys(maps, areas),
        "curves": {name: {"deletion_blur": curve, "insertion_blur": curve} for name in maps},
        "sensitivity": {name: {kind: {
            "lowest": 0.1, "highest": 0.2, "agreement": 0.7, "verdict": "faithful",
        } for kind in ("deletion", "insertion")} for name in maps},
        "before_after": {
            "before": "none", "after": "dual-iterative",
            "maps": {name: {"pointing_game": CHANGE, "border": CHANGE} for name in maps},
            "by_class": {"benign": {name: {"border": CHANGE} for name in maps}},
        },
        "examples": {"neighbours": 5, "predicted": localisation()["iou"],
                     "true": localisation()["iou"]},
        "fine_layers": ["blocks.1", "blocks.2"], "mirror": True,
        "sanity": {name: {"stages": [{"randomised": "head", "share": 0, "rank_correlation": 0.4}],
                          "fit": name == "grad-cam", "sentence": f"{name} changes.",
                          "labels": {"fit": True, "sentence": "It follows the labels."}}
                   for name in maps},
        "metrics": [
            {"name": "pointing_game", "higher_is_better": True, "sentence": "Peak in the lesion."},
            {"name": "energy_ratio", "higher_is_better": True, "sentence": "Evidence over chance."},
            {"name": "iou", "higher_is_better": True, "sentence": "Overlap at equal area."},
        ],
        "cases": cases, "settings": {}, "seed": 0,
    })  # fmt: skip
