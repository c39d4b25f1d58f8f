import json
import shutil

import pytest

from sonobalance.reporting.artefacts import RunFiles
from sonobalance.reporting.html import render
from sonobalance.reporting.sections.data import data
from sonobalance.reporting.sections.explanations import explanations
from sonobalance.reporting.sections.record import record
from sonobalance.reporting.sections.results import results
from sonobalance.reporting.sections.synthesis import synthesis
from sonobalance.reporting.sections.verdict import effect, verdict
from sonobalance.reporting.sections.worries import worries


def change(run, name, edit):
    """Let `edit` change a JSON file of a run; the run read anew."""
    value = json.loads((run / name).read_text())
    edit(value)
    (run / name).write_text(json.dumps(value))
    return RunFiles(run)


def test_counts_per_class_part_and_group_by_hand(tmp_path):
    rows = ["id,path,label,group,part,fold"]
    rows += ["a,a,x,g1,train,0", "b,b,x,g1,train,0", "c,c,x,g2,test,1", "d,d,y,g3,train,0"]
    (tmp_path / "splits.csv").write_text("\n".join(rows) + "\n")
    values = data(RunFiles(tmp_path)).values
    x, y = values["counts"]
    assert (x["images"], x["groups"], x["share"]) == (3, 2, 0.75)
    assert x["parts"] == {"train": (2, 1), "val": (0, 0), "test": (1, 1), "excluded": (0, 0)}
    assert y["images"] == 1
    assert values["imbalance"] == 3
    assert values["group_sizes"] == {"groups": 3, "images_in_groups": 2, "largest": 2}


def test_pairs_with_two_labels_are_conflicts_and_not_duplicates(whole_run):
    values = data(RunFiles(whole_run)).values
    assert (values["duplicate_count"], values["conflict_count"]) == (10, 1)
    assert {row["kind"] for row in values["other"]} == {"mark shortcut", "imbalance"}
    captions = [shot.caption for shot in values["conflict_pairs"][0]["shots"]]
    assert captions == ["benign: benign/benign (24)", "malignant: malignant/malignant (1)"]


def test_duplicate_examples_run_from_the_surest_to_the_least_sure(whole_run):
    scores = [pair["score"] for pair in data(RunFiles(whole_run)).values["duplicate_pairs"]]
    assert scores == sorted(scores, reverse=True)
    assert (scores[0], scores[-1]) == (1.0, 1 - 18 / 60)


def test_marks_count_images_not_marks(tmp_path):
    splits = ["id,path,label,group,part,fold", "a,a,x,1,train,0", "b,b,x,2,train,0"]
    (tmp_path / "splits.csv").write_text("\n".join(splits) + "\n")
    marks = ["id,path,kind,x,y,width,height"] + 2 * ["a,a,text,1,1,2,2"] + ["a,a,caliper,5,5,2,2"]
    (tmp_path / "marks.csv").write_text("\n".join(marks) + "\n")
    (row,) = data(RunFiles(tmp_path)).values["marks"]
    assert (row["images"], row["any"], row["kinds"]) == (2, 1, {"text": 1, "caliper": 1})


def test_the_effect_is_that_of_balanced_accuracy(whole_run):
    shown = effect(RunFiles(whole_run), "dual-iterative")
    assert shown["metric"] == "Balanced accuracy"
    assert shown["others"][0] == "Macro-F1 +0.020 (−0.010 to 0.050)"


def test_a_clear_change_of_another_metric_is_called_clear(own_run):
    def fall(document):
        for row in document["paired"]:
            if row["metric"] == "macro_auc":
                row.update(difference=-0.013, low=-0.025, high=-0.003, verdict="worse")

    shown = effect(change(own_run, "evaluation.json", fall), "dual-iterative")
    assert shown["judged"] == "no clear difference"
    assert shown["others"][1] == "AUC (macro) −0.013 (−0.025 to −0.003, clearly worse)"


def between(own_run, before, after):
    def edit(document):
        document["before_after"].update(before=before, after=after)

    return explanations(change(own_run, "explanation.json", edit)).values["change"]["question"]


def test_the_question_about_synthesis_is_asked_only_where_nothing_else_differs(own_run):
    asked = "Did synthesis change where the model looks?"
    assert between(own_run, "over-sampling", "dual-iterative") == asked
    for before, after in (("none", "dual-iterative"), ("none", "over-sampling")):
        question = between(own_run, before, after)
        assert "synthesis" not in question
        assert before in question
        assert after in question


def test_synthetic_images_are_not_called_ruled_out_where_the_model_has_them(own_run):
    run = change(own_run, "classifier/arms.json", lambda doc: doc.update(guarded=True))
    assert verdict(run).values["how_chosen"] == "chosen for its macro-F1 on VAL"
    run = change(own_run, "classifier/arms.json", lambda doc: doc.update(chosen="none"))
    assert verdict(run).values["how_chosen"].endswith("had ruled out synthetic images")


def test_the_arm_that_val_chose_leads_even_when_another_is_better_on_test(own_run):
    run = change(own_run, "classifier/arms.json", lambda doc: doc.update(chosen="none"))
    values = verdict(run).values
    assert (values["arm"], values["beside_baseline"]) == ("none", False)
    assert values["how_chosen"] == "chosen for its macro-F1 on VAL"
    assert values["tiles"][0][1]["value"] == 0.76


def test_without_a_choice_the_arm_with_synthetic_images_leads_and_nobody_claims_a_choice(own_run):
    (own_run / "classifier" / "arms.json").unlink()
    values = verdict(RunFiles(own_run)).values
    assert (values["arm"], values["how_chosen"]) == ("dual-iterative", "")


def test_worries_name_leakage_first_then_warnings_then_findings_by_score(own_run):
    run = change(own_run, "run.json", lambda doc: doc["settings"]["split"].update(leaky=True))
    found = verdict(run).values["worries"]
    assert "too good" in found[0]
    assert "18 independent groups" in found[1]
    assert found[2] == "Unfit as explanations, by a sanity check: attention-gate."
    assert found[3].endswith("(2 such findings in all)")
    assert found.index("Marks alone tell malignant from the rest.") < len(found) - 1
    assert worries(run, {})[-1] == "1 file could not be used and was left out."


def test_a_score_whose_interval_reaches_chance_is_a_worry(own_run):
    def edit(document):
        document["arms"]["dual-iterative"]["balanced_accuracy"]["low"] = 0.3

    found = verdict(change(own_run, "evaluation.json", edit)).values["worries"]
    assert found[0].startswith("The classifier may be no better than guessing")


def test_what_was_wrong_while_the_generator_learned_is_a_worry(own_run):
    warned = ["D1 was sure of every generated image for 3 snapshots."]
    run = change(own_run, "gan/gan.json", lambda doc: doc.update(warnings=warned))
    assert f"While the generator learned: {warned[0]}" in verdict(run).values["worries"]


def test_an_early_end_of_the_gan_is_a_worry(own_run):
    run = change(own_run, "gan/gan.json", lambda doc: doc.update(collapsed=True, stop="It fell."))
    assert "The generator’s training ended early. It fell." in verdict(run).values["worries"]


def test_a_generator_without_any_good_snapshot_is_told_in_place_of_synthesis(own_run):
    stop = "The images asked for were seen. No snapshot was diverse enough to be kept."
    shutil.rmtree(own_run / "synthesis")
    found = {"collapsed": True, "stop": stop, "best_kimg": 0.0, "best_kid": None}
    run = change(own_run, "gan/gan.json", lambda doc: doc.update(found))
    assert f"No generator. {stop}" in verdict(run).values["worries"]
    page = render(run)
    assert f"No synthetic image was made. {stop}" in page
    assert "Synthetic images were added" not in page
    assert "side by side" not in page
    run = change(own_run, "gan/gan.json", lambda doc: doc.update(collapsed=False, best_kimg=4.5))
    assert "The stage synthesize was not done to its end." in render(run)


def test_only_train_images_stand_beside_synthetic_ones(whole_run):
    run = RunFiles(whole_run)
    part = {row["id"]: row["part"] for row in run.splits}
    values = synthesis(run).values
    shown = [p.alt.split(" image ")[1] for strip in values["strips"] for p in strip["real"]]
    shown += [
        pair["shots"][1].alt.removeprefix("Nearest real image ") for pair in values["nearest"]
    ]
    assert len(shown) > 10
    assert {part[key] for key in shown} == {"train"}


def test_strips_count_what_was_accepted_and_candidates_what_was_made(whole_run):
    values = synthesis(RunFiles(whole_run)).values
    assert [strip["made"] for strip in values["strips"]] == [0, 10, 10]
    assert (values["candidates"], values["kept"]) == (60, 20)
    assert "class 12, novelty 10, realism 10, diversity 8" in values["reasons"]
    assert values["gate_words"]["novelty"] == ["a copy of a TRAIN image"]


def test_rounds_are_summed_over_the_classes(whole_run):
    first, _ = synthesis(RunFiles(whole_run)).values["rounds"]
    assert (first["sums"]["asked"], first["sums"]["made"], first["sums"]["added"]) == (10, 30, 10)
    assert (first["sums"]["rejected_novelty"], first["sums"]["rejected_realism"]) == (8, 0)
    assert [part["label"] for part in first["classes"]] == ["malignant", "normal"]


def test_the_balance_counts_synthetic_images(whole_run):
    rows = synthesis(RunFiles(whole_run)).values["balance"]
    assert [(row["real"], row["added"], row["after"]) for row in rows] == [
        (16, 0, 16), (6, 10, 16), (5, 10, 15),
    ]  # fmt: skip


def test_real_and_synthetic_images_are_shown_at_one_scale(whole_run):
    values = synthesis(RunFiles(whole_run)).values
    shots = [p for strip in values["strips"] for p in (*strip["real"], *strip["synthetic"])]
    assert {(p.width, p.height) for p in shots} == {(64, 64)}


def test_confusion_shares_are_of_the_true_class(whole_run):
    first = results(RunFiles(whole_run)).values["confusion"]["none"][0]
    assert first["total"] == 88
    assert [cell["count"] for cell in first["cells"]] == [75, 9, 4]
    assert sum(cell["share"] for cell in first["cells"]) == pytest.approx(1)


def test_a_null_roc_operating_point_or_conformal_set_is_left_out(own_run):
    def edit(document):
        document["roc"]["none"]["normal"] = None
        document["roc"]["dual-iterative"]["normal"] = None
        document["conformal"]["none"] = None

    values = results(change(own_run, "evaluation.json", edit)).values
    assert len(values["roc"]) == 2
    assert [row["label"] for row in values["operating"]] == ["malignant", "malignant"]
    assert list(values["conformal"]) == ["dual-iterative"]


def test_controls_stand_among_the_maps(whole_run):
    rows = explanations(RunFiles(whole_run)).values["rows"]
    assert [row[0] for row in rows] == ["grad-cam", "attention-gate (unfit)", "random (control)"]


def test_every_trace_names_a_file_with_the_inputs_of_its_stage(own_run):
    def edit(document):
        document["stages"]["evaluate"]["fingerprint"]["inputs"] = {"predictions.csv": "ab"}

    run = change(own_run, "run.json", edit)
    traces = record(run).values["trace"]
    assert all(run.has(row["file"]) for row in traces)
    scores = next(row for row in traces if row["number"] == "scores and intervals")
    assert scores["inputs"] == ["predictions.csv"]


def test_a_temperature_is_shown_only_beside_the_errors_without_and_with_it(own_run):
    """Evaluations of earlier versions held one fitted to probabilities that were divided before."""

    def edit(document):
        del document["calibration"]["none"]["uncalibrated"]

    values = results(change(own_run, "evaluation.json", edit)).values
    assert list(values["temperatures"]) == ["dual-iterative"]
    found = values["temperatures"]["dual-iterative"]
    assert found["uncalibrated"]["ece"]["value"] == 0.11
    assert (found["temperature"], found["calibrated"]["ece"]["value"]) == (1.31, 0.04)
