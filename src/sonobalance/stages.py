"""The stages of a run: each reads plain files, calls the core, and leaves plain files.

Heavy parts are imported when a stage works, so that listing the stages costs nothing. Every stage
that must not see VAL or TEST works inside `reading_only` (promise P1).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps

from sonobalance.arms import REFERENCES, TREATMENTS
from sonobalance.artefacts import (
    all_drawn,
    all_trained_whole,
    choose_arm,
    copies_of,
    device_of,
    groups_of,
    manifest_of,
    prediction_table,
    splits_of,
    trained_arms,
    trained_whole,
    was_cleaned,
)
from sonobalance.files import read_json, write_json
from sonobalance.fingerprint import LEFT_OUT, SOURCE
from sonobalance.runs import Run, Stage, now

GAN_STAGES = ("train-gan", "synthesize")
PIXELS = ("device", "clean_marks")  # settings of every stage in which a network learns
SYNTHESIS_FILES = (
    "manifest.csv", "selection.csv", "rounds.csv", "synthesis.json", "bundle/bundle.json",
)  # fmt: skip
RESULT_FILES = (
    "manifest.csv?", "audit.json?", "groups.csv?", "marks.csv?", "splits.csv?", "gan/gan.json?",
    "gan/stats.jsonl?", "synthesis/synthesis.json?", "synthesis/selection.csv?",
    "synthesis/rounds.csv?", "synthesis/manifest.csv?", "classifier/arms.json?",
    "predictions.csv?", "evaluation.json?", "explanation.json?",
)  # fmt: skip


def _index(run: Run) -> None:
    from sonobalance.data.sources import index_folder

    manifest, skipped = index_folder(run.source, run.settings.data)
    run.record["skipped"] = [{"path": str(s.path), "reason": s.reason} for s in skipped]
    manifest.write(run.path("manifest.csv"))


def _audit(run: Run) -> None:
    from sonobalance.data.audit import audit
    from sonobalance.reporting.audit_page import write_audit

    manifest = manifest_of(run)
    settings = run.settings.audit
    found = audit(manifest, settings, run.record["skipped"])
    write_audit(found, manifest, settings, run.folder)


def _split(run: Run) -> None:
    from sonobalance.data.folds import write_folds
    from sonobalance.data.split import make_splits

    seed = run.settings.seed
    made = make_splits(manifest_of(run), groups_of(run), run.settings.split, seed, copies_of(run))
    write_folds(run.path("folds.csv"), made, run.settings.split.repeats, seed)
    made.write(run.path("splits.csv"))


def _train_gan(run: Run) -> None:
    from sonobalance.classify.ancestry import check_ancestry, write_ancestry
    from sonobalance.data.guard import reading_only
    from sonobalance.data.loading import load_images
    from sonobalance.gan.features import eyes_of
    from sonobalance.gan.parallel import train_on_devices
    from sonobalance.gan.places import folder_of
    from sonobalance.gan.train import train_gan
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
        train_it = train_on_devices if gan.devices * gan.nodes > 1 else train_gan
        train_it(
            images, gan, seed=run.settings.seed, folder=run.path("gan"), device=device_of(run),
            groups=[splits.group[key] for key in images.ids], eyes=eyes_of(run.settings),
        )  # fmt: skip
    write_ancestry(run.path("gan"), [train], start)


def _synthesize(run: Run) -> None:
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


def _train(run: Run) -> None:
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


def _predict(run: Run) -> None:
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


def _evaluate(run: Run) -> None:
    from sonobalance.evaluation.evaluate import evaluate_predictions
    from sonobalance.evaluation.predictions import read_predictions

    settings, splits = run.settings, splits_of(run)
    unseen = {r.id for part in ("val", "test") for r in splits.of(part)}
    table = read_predictions(run.path("predictions.csv"), unseen)
    pages = {a: read_json(run.path(f"classifier/{a}/model.json")) for a in table["arm"].unique()}
    result = evaluate_predictions(
        table, settings.evaluation, seed=settings.seed, references=REFERENCES,
        temperatures={arm: page["temperature"] for arm, page in pages.items()},
    )  # fmt: skip
    write_json(run.path("evaluation.json"), result)


def _explain(run: Run) -> None:
    from sonobalance.explaining import explain_run

    write_json(run.path("explanation.json"), explain_run(run))


def _report(run: Run) -> None:
    from sonobalance.reporting.html import build_report

    if run.path("splits.csv").is_file():
        splits_of(run)  # no page about parts that leak
    run.record["finished"] = now()
    run.save()
    build_report(run.folder)


def _cleaned(work: Callable[[Run], None], like: str | None = None) -> Callable[[Run], None]:
    """The same work on images without their burnt-in marks, where the settings say so.

    With `like` it is done as that stage was, whatever the settings say today.
    """

    @wraps(work)
    def clean_work(run: Run) -> None:
        from sonobalance.data.cleaning import cleaned

        active = was_cleaned(run, like) if like else run.settings.clean_marks
        with cleaned(active, leave=[run.path("synthesis")]):
            work(run)

    return clean_work


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("index", ("data",), (SOURCE,), ("manifest.csv",), _index, random=False),
        Stage(
            "audit", ("audit",), ("manifest.csv", LEFT_OUT),
            ("audit.json", "groups.csv", "marks.csv", "audit.html"), _audit, random=False,
        ),
        Stage(
            "split", ("split",), ("manifest.csv", "groups.csv"), ("splits.csv", "folds.csv"), _split
        ),
        Stage(
            "train-gan", ("gan", "classifier.backbone", "classifier.weights", *PIXELS),
            ("manifest.csv", "splits.csv"), ("gan/snapshot.safetensors",), _cleaned(_train_gan),
            longer=("gan.total_kimg",), resumes=True,
        ),
        Stage(
            "synthesize",
            ("gan", "synthesis", "classifier.backbone", "classifier.weights",
             "classifier.image_size_px", "classifier.synthetic_share", *PIXELS),
            ("manifest.csv", "splits.csv", "gan/snapshot.safetensors"),
            tuple(f"synthesis/{name}" for name in SYNTHESIS_FILES), _cleaned(_synthesize),
            resumes=True,
        ),
        Stage(
            "train", ("classifier", "arms", *PIXELS),
            ("manifest.csv", "splits.csv", "synthesis/manifest.csv?", "synthesis/synthesis.json?",
             "synthesis/enlarger.safetensors?"),
            ("classifier/arms.json",), _cleaned(_train), whole=all_trained_whole, resumes=True,
        ),
        Stage(
            "predict", (), ("manifest.csv", "splits.csv", "classifier/arms.json"),
            ("predictions.csv",), _cleaned(_predict, like="train"), random=False,
        ),
        Stage(
            "evaluate", ("evaluation",),
            ("manifest.csv", "splits.csv", "predictions.csv", "classifier/arms.json"),
            ("evaluation.json",), _evaluate,
        ),
        Stage(
            "explain", ("explanation", "evaluation.coverage"),
            ("manifest.csv", "splits.csv", "marks.csv?", "classifier/arms.json", "predictions.csv",
             "synthesis/manifest.csv?", "gan/snapshot.safetensors?"),
            ("explanation.json", "maps/scores.csv"), _cleaned(_explain, like="train"),
            whole=all_drawn,
        ),
        Stage("report", (), RESULT_FILES, ("report.html",), _report, random=False, cheap=True),
    )
}  # fmt: skip
