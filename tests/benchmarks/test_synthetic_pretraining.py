"""Which runs of a benchmark belong together, and where the taught network goes."""

from __future__ import annotations

from types import SimpleNamespace

from sonobalance.config import Settings


def test_a_generator_is_joined_by_the_arm_of_its_fold(module, tmp_path, monkeypatch):
    script = module("synthetic_pretraining")
    monkeypatch.setattr(script, "open_run", lambda folder: folder.name)
    for name in ("gan-d2gan", "gan-single", "over-sampling", "dual-iterative"):
        for place in ("seed0-fold0", "seed0-fold11", "seed2-fold1"):
            (tmp_path / "units" / f"{name}-{place}-0123456789").mkdir(parents=True)
    found = [(p.gan, p.arm, p.name) for p in script.places_of(tmp_path)]
    assert found == [
        (f"gan-d2gan-{place}-0123456789", f"over-sampling-{place}-0123456789", place)
        for place in ("seed0-fold0", "seed0-fold11", "seed2-fold1")
    ]


def test_each_use_has_the_network_in_a_setting_of_its_own(module, tmp_path, monkeypatch):
    script = module("synthetic_pretraining")
    monkeypatch.setattr(script, "splits_of", lambda run: None)
    arm = SimpleNamespace(settings=Settings(), folder=tmp_path / "over-sampling-seed0-fold1-x")
    place = script.Place(None, arm, 0, 1)
    start = tmp_path / "synthetic-9-seed0-fold1"
    units = {use: script.unit_of(place, use, start) for use in script.USES}
    first, other = (units[use].settings.classifier for use in ("pretrained", "partner"))
    assert (first.init, first.partner) == (start, None)
    assert (other.init, other.partner) == (None, start)
    assert len({unit.folder for unit in units.values()}) == 2
