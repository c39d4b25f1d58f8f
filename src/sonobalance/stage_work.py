"""What each stage does: it reads plain files, calls the core, and leaves plain files.

Heavy parts are imported when a stage works, so that listing the stages costs nothing. Every stage
that must not see VAL or TEST works inside `reading_only` (promise P1).
"""

from __future__ import annotations

from functools import partial

from sonobalance.arms import REFERENCES, TREATMENTS
from sonobalance.artefacts import (
    choose_arm,
    copies_of,
    device_of,
    groups_of,
    manifest_of,
    prediction_table,
    splits_of,
    trained_arms,
    trained_whole,
)
from sonobalance.classify.places import page_file
from sonobalance.files import read_json, write_json
from sonobalance.runs import Run, now


def index(run: Run) -> None:
    """List the images, and the files that are none."""
    from sonobalance.data.sources import index_folder

    manifest, skipped = index_folder(run.source, run.settings.data)
    run.record["skipped"] = [{"path": str(s.path), "reason": s.reason} for s in skipped]
    manifest.write(run.path("manifest.csv"))


def audit_images(run: Run) -> None:
    """Find duplicates, relatives, marks; group the images."""
    from sonobalance.data.audit import audit
    from sonobalance.reporting.audit_page import write_audit

    manifest = manifest_of(run)
    settings = run.settings.audit
    found = audit(manifest, settings, run.record["skipped"])
    write_audit(found, manifest, settings, run.folder)


def split(run: Run) -> None:
    """Deal whole groups to the parts."""
    from sonobalance.data.folds import write_folds
    from sonobalance.data.split import make_splits

    seed = run.settings.seed
    made = make_splits(manifest_of(run), groups_of(run), run.settings.split, seed, copies_of(run))
    write_folds(run.path("folds.csv"), made, run.settings.split.repeats, seed)
    made.write(run.path("splits.csv"))


def train_gan(run: Run) -> None:
    """Train the generator on TRAIN."""
    from sonobalance.classify.ancestry import check_ancestry, write_ancestry
    from sonobalance.data.guard import reading_only
    from sonobalance.data.loading import load_images
    from sonobalance.gan.features import eyes_of
    from sonobalance.gan.parallel import train_on_devices
    from sonobalance.gan.places import folder_of
    from sonobalance.gan.train import train_gan as train_alone
    from sonobalance.synthesis.inner import check_relatives
    from sonobalance.synthesis.targets import target_counts

    splits, gan = splits_of(run), run.settings.gan
    train = splits.of("train")
    check_relatives([r.label for r in train], [splits.group[r.id] for r in train])
    target_counts(train.counts, run.settings.synthesis)  # refused now, not after an hour
    start = None if gan.init is None else folder_of(gan.init)
    if start is not None:
        check_ancestry(start, [splits.of("val"), splits.of("test")])
    with reading_only(train):
        images = load_images(
            train, gan.image_size_px, splits.manifest.classes, outlines=gan.synthesize_masks
        )
        train_it = train_on_devices if gan.devices * gan.nodes > 1 else train_alone
        train_it(
            images, gan, seed=run.settings.seed, folder=run.path("gan"), device=device_of(run),
            groups=[splits.group[key] for key in images.ids], eyes=eyes_of(run.settings),
        )  # fmt: skip
    write_ancestry(run.path("gan"), [train], start)


def synthesize(run: Run) -> None:
    """Grow the rarer classes round by round, and pack the generator."""
    from sonobalance.data.guard import reading_only
    from sonobalance.data.loading import load_images
    from sonobalance.growing import grow_classes
    from sonobalance.synthesis.enlarger import ENLARGER
    from sonobalance.synthesis.generator_bundle import write_generator_bundle
    from sonobalance.synthesis.masks import samplers_in, write_masks
    from sonobalance.synthesis.realism import realism_of

    splits, settings, device = splits_of(run), run.settings, device_of(run)
    train, folder = splits.of("train"), run.path("synthesis")
    classifier, gan = settings.classifier, settings.gan
    with reading_only(train, folders=[folder]):
        images = load_images(
            train, gan.image_size_px, splits.manifest.classes, outlines=gan.synthesize_masks
        )
        growth, generator = grow_classes(
            settings, images, [splits.group[key] for key in images.ids],
            seen=load_images(train, classifier.image_size_px, images.classes),
            gan=run.path("gan"), folder=folder, device=device,
        )  # fmt: skip
        if gan.synthesize_masks:
            write_masks(folder, samplers_in(folder, device))
        default = max(growth.best_round, 1)
        generator.advance(default)
        enlarger = folder / ENLARGER
        write_generator_bundle(
            folder / "bundle", generators=folder / "generators", gates=growth.gates,
            realism=realism_of(generator, images, settings.synthesis), train=images,
            default_round=default, settings=settings.synthesis,
            backbone=classifier.backbone, weights=classifier.weights,
            enlarger=enlarger if enlarger.is_file() else None,
        )  # fmt: skip


def train(run: Run) -> None:
    """Train every arm on TRAIN, validated on VAL; choose one."""
    from sonobalance.additions import added_images
    from sonobalance.classify.ancestry import check_ancestry, write_ancestry
    from sonobalance.classify.feature_store import FeatureStore
    from sonobalance.classify.frozen import train_frozen
    from sonobalance.classify.train import train_classifier
    from sonobalance.classify.tuning import forget
    from sonobalance.classify.weights import check_start
    from sonobalance.data.guard import reading_only
    from sonobalance.data.loading import load_images

    splits, base = splits_of(run), run.settings.classifier
    classes, size = splits.manifest.classes, base.image_size_px
    check_start(base)
    for ancestor in filter(None, (base.init, base.partner)):
        check_ancestry(ancestor, [splits.of("val"), splits.of("test")])
    with reading_only(splits.of("train"), splits.of("val"), folders=[run.path("synthesis")]):
        outlines = base.lesion_attention or any(TREATMENTS[a].copy_paste for a in trained_arms(run))
        train = load_images(splits.of("train"), size, classes, "TRAIN", outlines=outlines)
        val = load_images(splits.of("val"), size, classes, "VAL")
        for arm in trained_arms(run):
            if trained_whole(run, arm):
                forget(run.path(f"classifier/{arm}"))  # finished before the run was interrupted
                continue
            seen = [splits.of("train"), splits.of("val")]
            made_by = run.path("gan") if TREATMENTS[arm].objective else None
            write_ancestry(run.path(f"classifier/{arm}"), seen, base.init, base.partner, made_by)
            chosen, fit = TREATMENTS[arm].settings(base), train_classifier
            if chosen.frozen:
                store = run.path("features")
                fit = partial(
                    train_frozen, groups=[splits.group[key] for key in train.ids],
                    store=FeatureStore(store if store.is_dir() else None),
                )  # fmt: skip
            fit(
                train,
                val,
                chosen,
                seed=run.settings.seed,
                folder=run.path(f"classifier/{arm}"),
                device=device_of(run),
                synthetic=added_images(run, arm, train),
            )
    write_json(run.path("classifier/arms.json"), choose_arm(run))


def predict(run: Run) -> None:
    """Ask every arm about VAL and TEST."""
    import pandas as pd

    from sonobalance.classify.predict import Predictor
    from sonobalance.data.loading import load_images
    from sonobalance.evaluation.predictions import write_predictions

    splits = splits_of(run)
    unseen = splits.manifest.select([*splits.of("val").ids, *splits.of("test").ids])
    images = load_images(
        unseen, run.settings.classifier.image_size_px, splits.manifest.classes, "VAL and TEST"
    )
    tables = []
    for arm in trained_arms(run):
        predictor = Predictor.load(run.path(f"classifier/{arm}"), device_of(run))
        tables.append(prediction_table(arm, splits, unseen, predictor.probabilities(images)))
    write_predictions(run.path("predictions.csv"), pd.concat(tables, ignore_index=True))


def evaluate(run: Run) -> None:
    """Score the predictions."""
    from sonobalance.evaluation.evaluate import evaluate_predictions
    from sonobalance.evaluation.predictions import read_predictions

    settings, splits = run.settings, splits_of(run)
    unseen = {r.id for part in ("val", "test") for r in splits.of(part)}
    table = read_predictions(run.path("predictions.csv"), unseen)
    pages = {a: read_json(page_file(run.path(f"classifier/{a}"))) for a in table["arm"].unique()}
    result = evaluate_predictions(
        table, settings.evaluation, seed=settings.seed, references=REFERENCES,
        temperatures={arm: page["temperature"] for arm, page in pages.items()},
    )  # fmt: skip
    write_json(run.path("evaluation.json"), result)


def explain(run: Run) -> None:
    """Draw and measure maps of the chosen arm."""
    from sonobalance.explaining import explain_run

    write_json(run.path("explanation.json"), explain_run(run))


def report(run: Run) -> None:
    """Write the page."""
    from sonobalance.reporting.html import build_report

    if run.path("splits.csv").is_file():
        splits_of(run)  # no page about parts that leak
    run.record["finished"] = now()
    run.save()
    build_report(run.folder)
