"""Settings: layering, ranges, unknown names."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from sonobalance.config import PRESETS, Settings
from sonobalance.errors import InputError, SettingsError
from sonobalance.layers import nearest_name, parse, resolve, valid_names


def test_the_command_line_wins_over_toml_over_preset_over_default(tmp_path: Path) -> None:
    toml = tmp_path / "a.toml"
    toml.write_text("seed = 3\n[gan]\ntotal_kimg = 7\nalpha = 0.5\n")
    given = Settings.model_validate({"gan": {"alpha": 0.7}})
    resolved = resolve("demo", toml, given)
    assert resolved.gan.alpha == 0.7
    assert resolved.gan.total_kimg == 7
    assert resolved.seed == 3
    assert resolved.gan.image_size_px == PRESETS["demo"]["gan"]["image_size_px"]
    assert resolved.split == Settings().split


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_is_valid(preset: str) -> None:
    assert isinstance(parse(PRESETS[preset]), Settings)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"'gan.alhpa'; did you mean 'gan.alpha'"):
        parse({"gan": {"alhpa": 1}})


def test_a_value_out_of_range_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"'gan.alpha'.*greater than 0.*-1"):
        parse({"gan": {"alpha": -1}})


def test_an_arm_that_is_named_twice_is_one() -> None:
    assert parse({"arms": ["none", "focal", "none"]}).arms == ("none", "focal")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().seed = 1  # type: ignore[misc]


def test_toml_that_is_missing_or_broken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is none"):
        resolve(config=tmp_path / "no.toml")
    (tmp_path / "bad.toml").write_text("gan = [")
    with pytest.raises(InputError, match="Expected TOML"):
        resolve(config=tmp_path / "bad.toml")


def test_every_setting_has_a_sentence() -> None:
    for name in valid_names():
        section, _, leaf = name.rpartition(".")
        owner = Settings.model_fields[section].annotation if section else Settings
        assert owner.model_fields[leaf].description, name


def test_the_nearest_name_stays_in_its_section() -> None:
    assert nearest_name("split.test-fracton") == "split.test_fraction"
    assert nearest_name("qqqq") is None


def test_settings_that_exclude_each_other_are_refused_in_one_sentence() -> None:
    wrong = {"synthesis": {"feed_back": True}, "gan": {"synthesize_masks": True}}
    with pytest.raises(
        SettingsError, match=r"^Expected settings that fit together, but .*masks\.$"
    ):
        parse(wrong)


def test_none_takes_a_file_or_a_name_away() -> None:
    known = parse({"gan": {"init": "a/run"}, "classifier": {"second_backbone": "resnet18"}})
    given = parse({"gan": {"init": Path("none")}, "classifier": {"second_backbone": "none"}})
    resolved = resolve(given=given, base=known)
    assert resolved.gan.init is None
    assert resolved.classifier.second_backbone is None
    assert parse({"classifier": {"attention": "none"}}).classifier.attention == "none"


def test_a_table_replaces_the_one_below_it() -> None:
    base = parse({"synthesis": {"counts": {"malignant": 300, "normal": 300}, "rounds": 2}})
    now = resolve(base=base, given=parse({"synthesis": {"counts": {"malignant": 200}}})).synthesis
    assert (now.counts, now.rounds) == ({"malignant": 200}, 2)


def test_relative_paths_are_those_of_the_working_directory() -> None:
    given = parse({"classifier": {"weights": "w.safetensors"}})
    found = resolve(given=given).classifier
    assert found.weights == Path("w.safetensors").absolute()
    assert found.model_fields_set == {"weights"}
