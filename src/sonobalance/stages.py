"""The stages of a run: what each reads and writes, and which settings its result depends on."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from sonobalance import stage_work as work
from sonobalance.artefacts import all_drawn, all_trained_whole, was_cleaned
from sonobalance.fingerprint import LEFT_OUT, SOURCE
from sonobalance.heap import large_blocks_kept
from sonobalance.runs import Run, Stage

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


def _of_networks(stage: Callable[[Run], None], like: str | None = None) -> Callable[[Run], None]:
    """The same work as networks need it: on a CPU, large tensors find their memory kept.

    Where the settings say so images come without their burnt-in marks; with `like` they come as
    they did in that stage, whatever the settings say today.
    """

    @wraps(stage)
    def prepared(run: Run) -> None:
        from sonobalance.data.cleaning import cleaned

        active = was_cleaned(run, like) if like else run.settings.clean_marks
        with large_blocks_kept(), cleaned(active, leave=[run.path("synthesis")]):
            stage(run)

    return prepared


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("index", ("data",), (SOURCE,), ("manifest.csv",), work.index, random=False),
        Stage(
            "audit", ("audit",), ("manifest.csv", LEFT_OUT),
            ("audit.json", "groups.csv", "marks.csv", "audit.html"), work.audit_images,
            random=False,
        ),
        Stage(
            "split", ("split",), ("manifest.csv", "groups.csv"), ("splits.csv", "folds.csv"),
            work.split,
        ),
        Stage(
            "train-gan", ("gan", "classifier.backbone", "classifier.weights", *PIXELS),
            ("manifest.csv", "splits.csv"), ("gan/snapshot.safetensors",),
            _of_networks(work.train_gan), longer=("gan.total_kimg",), resumes=True,
        ),
        Stage(
            "synthesize",
            ("gan", "synthesis", "classifier.backbone", "classifier.weights",
             "classifier.image_size_px", "classifier.synthetic_share", *PIXELS),
            ("manifest.csv", "splits.csv", "gan/snapshot.safetensors"),
            tuple(f"synthesis/{name}" for name in SYNTHESIS_FILES), _of_networks(work.synthesize),
            resumes=True,
        ),
        Stage(
            "train", ("classifier", "arms", *PIXELS),
            ("manifest.csv", "splits.csv", "synthesis/manifest.csv?", "synthesis/synthesis.json?",
             "synthesis/enlarger.safetensors?"),
            ("classifier/arms.json",), _of_networks(work.train), whole=all_trained_whole,
            resumes=True,
        ),
        Stage(
            "predict", (), ("manifest.csv", "splits.csv", "classifier/arms.json"),
            ("predictions.csv",), _of_networks(work.predict, like="train"), random=False,
        ),
        Stage(
            "evaluate", ("evaluation",),
            ("manifest.csv", "splits.csv", "predictions.csv", "classifier/arms.json"),
            ("evaluation.json",), work.evaluate,
        ),
        Stage(
            "explain", ("explanation", "evaluation.coverage"),
            ("manifest.csv", "splits.csv", "marks.csv?", "classifier/arms.json", "predictions.csv",
             "synthesis/manifest.csv?", "gan/snapshot.safetensors?"),
            ("explanation.json", "maps/scores.csv"), _of_networks(work.explain, like="train"),
            whole=all_drawn,
        ),
        Stage("report", (), RESULT_FILES, ("report.html",), work.report, random=False, cheap=True),
    )
}  # fmt: skip
