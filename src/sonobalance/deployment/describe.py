"""The description of a bundle, from what a run knows about its model."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sonobalance.data.relatives import content_key
from sonobalance.deployment.description import FORMAT, Description
from sonobalance.environment import environment
from sonobalance.notice import NOTICE
from sonobalance.version import BUNDLE_FORMAT, __version__

if TYPE_CHECKING:
    from sonobalance.data.split import Splits
    from sonobalance.runs import Run

NOT_STATED = "not stated; ask the owners of the training data and of the pretrained weights"
INTENDED_USE = (
    "Research: comparing methods, studying imbalance and synthesis, teaching. Not for diagnosis, "
    "triage, or any decision about a patient; it has not been validated for that and is not a "
    "medical device."
)
REFERENCES = (
    "Zhao, Zhao & Cheng, Quant Imaging Med Surg 2026;16(5):412 (the idea; this is not their code)",
    "Woo et al., CBAM, ECCV 2018 (channel and spatial attention)",
    "Guo et al., On Calibration of Modern Neural Networks, ICML 2017 (temperature)",
    "Sadinle, Lei & Wasserman, JASA 2019 (conformal sets)",
    "Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples and "
    "Adversarial Attacks, NeurIPS 2018 (refusal)",
)
STARTS = (
    "pretrained_weights_sha256", "second_weights_sha256", "init_sha256", "partner_sha256",
)  # fmt: skip
NEEDED = ("timm", "pillow", "opencv-python-headless")


@dataclass(frozen=True)
class Identity:
    """What only the owner knows about the model; empty means not stated.

    Attributes:
        name: of the model.
        version: of the model, such as 1.0.0.
        authors: who made it.
        licence: under which it may be used; the data and pretrained weights bind it.
    """

    name: str = ""
    version: str = "1.0.0"
    authors: str = ""
    licence: str = ""


def describe(
    run: Run, splits: Splits, page: Mapping[str, Any], evaluation: Mapping[str, Any],
    stated: Identity, *, arm: str, examples: bool, refuses: bool,
) -> Description:  # fmt: skip
    """The content of `model.json`.

    Args:
        run: where the model was trained.
        splits: its parts.
        page: the `model.json` of the classifier.
        evaluation: `evaluation.json`.
        stated: what the run does not know.
        arm: which classifier of the run.
        examples: whether TRAIN images are in the bundle.
        refuses: whether the bundle knows what is familiar.
    """
    classes, source = list(page["classes"]), str(run.record["name"])
    here = environment()
    counts = {**page["images"], "test": evaluation["n_by_class"]}
    leaky = run.settings.split.leaky
    return Description.model_validate({
        "format": FORMAT, "format_version": BUNDLE_FORMAT,
        "name": stated.name or f"{source} {page['backbone']}", "version": stated.version,
        "changelog": {stated.version: "first of this name"},
        "sonobalance_version": __version__,
        "pytorch_version": here["torch"], "numpy_version": here["numpy"],
        "required_packages_version": {name: here[name] for name in NEEDED},
        "task": f"classification of grey-scale ultrasound images into {', '.join(classes)}",
        "description": _description(page, arm),
        "authors": stated.authors or "not stated", "copyright": stated.authors or "not stated",
        "licence": stated.licence or NOT_STATED,
        "data_source": source, "data_type": "image",
        "image_classes": "one channel, 8-bit grey, any size; letterboxed to the network's size",
        "label_classes": ", ".join(f"{k}: {name}" for k, name in enumerate(classes)),
        "pred_classes": "one calibrated probability per class, in the order of label_classes",
        "eval_metrics": evaluation["arms"][arm],
        "intended_use": INTENDED_USE,
        "limits": _limits(evaluation, counts, examples=examples, leaky=leaky),
        "notice": NOTICE, "references": REFERENCES if refuses else REFERENCES[:-1],
        "network_data_format": data_format(classes, page["preprocessing"]["image_size_px"]),
        "classes": classes,
        "network": {
            "backbone": page["backbone"], "attention": page["attention"],
            "attention_stages": page["settings"]["attention_stages"],
            "attention_at": page["settings"].get("attention_at", ()),
            "lesion_attention": page["settings"].get("lesion_attention", False),
            "partners": page["partners"],
            "zoom": page["settings"].get("zoom_test", 1.0),
            "zoom_on": page["settings"].get("zoom_on", "middle"),
            "image_size_px": page["preprocessing"]["image_size_px"],
        },
        "preprocessing": {"grey": "ITU-R BT.601 luma", **page["preprocessing"]},
        "calibration": {"temperature": page["temperature"], "mirror_test": page["mirror_test"]},
        "thresholds": {k: v for k, v in evaluation["operating"][arm].items() if v},
        "conformal": _conformal(evaluation["conformal"][arm]),
        "training_data": {"name": source, "sha256": training_hash(splits), "counts": counts},
        "examples": examples, "leaky": leaky, "refuses": refuses,
        "confidence": evaluation["settings"]["confidence"],
        "made_from": {
            "arm": arm, "seed": page["seed"], "created": run.record["created"],
            "test_groups": evaluation["groups"], "method": evaluation["method"],
            "classifier_settings": page["settings"],
            **{name: page.get(name) for name in STARTS},
        },
    })  # fmt: skip


def training_hash(splits: Splits) -> str:
    """SHA-256 over the sorted digests and frames of the real TRAIN images."""
    digests = sorted(content_key(record) for record in splits.of("train"))
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def data_format(classes: list[str], side: int) -> dict[str, Any]:
    """`network_data_format` in the vocabulary of MONAI bundles."""
    return {
        "inputs": {"image": {
            "type": "image", "format": "magnitude", "modality": "US", "num_channels": 1,
            "spatial_shape": [side, side], "dtype": "float32", "value_range": [-1, 1],
            "is_patch_data": False, "channel_def": {"0": "grey"},
        }},
        "outputs": {"pred": {
            "type": "probabilities", "format": "classes", "num_channels": len(classes),
            "spatial_shape": [], "dtype": "float32", "value_range": [0, 1],
            "is_patch_data": False,
            "channel_def": {str(k): name for k, name in enumerate(classes)},
        }},
    }  # fmt: skip


def _description(page: Mapping[str, Any], arm: str) -> str:
    gates = {"none": "without attention gates", "both": "with channel and spatial attention"}
    attention = gates.get(page["attention"], f"with {page['attention']} attention")
    members = Counter([page["backbone"], *page["partners"]])
    whole = " + ".join(f"{n} × {name}" for name, n in members.items())
    made = f"trained as arm `{arm}` by sonobalance {__version__}"
    return f"Mean logits of {whole}, {attention}, {made}."


def _conformal(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if found is None:
        return None
    kept = {name: found[name] for name in ("coverage_wanted", "cutoff", "coverage", "mean_size")}
    return kept | {"quantile": 1 - found["cutoff"]}


def _limits(
    evaluation: Mapping[str, Any],
    counts: Mapping[str, Mapping[str, int]],
    *,
    examples: bool,
    leaky: bool,
) -> tuple[str, ...]:
    rarest = min(counts["real"], key=lambda name: counts["real"][name])
    out = [
        f"Tested on {evaluation['n']} images of {evaluation['groups']} independent groups from the "
        "source it was trained on; scanners, hospitals and patients elsewhere were not tested.",
        f"The rarest class in training is {rarest} with {counts['real'][rarest]} real images.",
        "Prevalence of the classes in practice differs from the data set's; so do the "
        "probabilities.",
        "It sees one grey image at a time: no history, no colour Doppler, no other views.",
        *evaluation["warnings"],
    ]
    if leaky:
        out.insert(0, "Relatives of TRAIN images stand in TEST: every score is too good.")
    if sum(counts["synthetic"].values()):
        out.append(
            "It was trained on made images too (synthetic, or composed of TRAIN images); their "
            "counts stand in training_data."
        )
    if examples:
        out.append("This bundle holds small TRAIN images: share it only as the data may be shared.")
    return tuple(out)
