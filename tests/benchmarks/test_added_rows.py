"""Rows that calls add to one result file mean the same, or the call ends with a sentence."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace

import pytest
import torch

from sonobalance.config import GanSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.files import read_json, write_json

GIVEN = {"minutes": 1.0, "size": 8, "backbone": "resnet10t", "referee": None}
IMAGES = LabelledImages(
    torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]), ("x", "y"), ("a", "b")
)


@pytest.fixture
def header(module, tmp_path):
    """The header of a study of these images, weights and device."""
    quality = module("gan_quality")

    def of(images=IMAGES, weights=b"1", device="cpu", **changes):
        path = tmp_path / "weights.safetensors"
        path.write_bytes(weights)
        study = object.__new__(quality.Study)
        study.given = Namespace(**GIVEN | changes, weights=path)
        study.images, study.settings = images, GanSettings()
        study.device = torch.device(device)
        return study.header()

    return of


def test_rows_of_another_train_part_weights_or_device_are_not_added(module, header, tmp_path):
    path, rows_of = tmp_path / "out.json", module("gan_quality").rows_of
    assert rows_of(path, header()) == []
    write_json(path, header() | {"rows": [{"seed": 0}]})
    assert rows_of(path, header()) == [{"seed": 0}]
    referee = tmp_path / "referee.safetensors"
    referee.write_bytes(b"3")
    for other, differing in (
        (header(replace(IMAGES, pixels=IMAGES.pixels + 1)), "inputs"),
        (header(replace(IMAGES, ids=("x", "z"))), "inputs"),
        (header(weights=b"2"), "inputs"),
        (header(referee=referee), "inputs"),
        (header(referee_backbone="resnet18"), "referee_backbone"),
        (header(device="cuda"), "inputs"),
        (header(backbone="resnet18"), "backbone"),
        (header(minutes=2.0), "budget"),
    ):
        with pytest.raises(SystemExit, match=f"of the same {differing}, but they differ"):
            rows_of(path, other)


def test_a_file_from_before_the_digests_can_be_added_to(module, header, tmp_path):
    path = tmp_path / "old.json"
    old = {key: value for key, value in header().items() if key != "inputs"}
    write_json(path, old | {"rows": [{"seed": 0}]})
    assert module("gan_quality").rows_of(path, header()) == [{"seed": 0}]


@pytest.fixture
def scale(module, monkeypatch, tmp_path):
    """The audit's benchmark with made-up measurements: sizes and workers → what was written."""
    benchmark = module("audit_scale")

    def measured(size, workers, work):
        return {
            "images": size, "processor_ms_per_image": size / 100, "wall_ms_per_image": size / 100,
            "peak_gib": size / 1000,
        }  # fmt: skip

    monkeypatch.setattr(benchmark, "measured", measured)

    def call(*sizes, workers=2):
        out = tmp_path / "out.json"
        words = ["x", *map(str, sizes), "--out", str(out), "--workers", str(workers)]
        monkeypatch.setattr("sys.argv", words)
        benchmark.main()
        return read_json(out)

    return call


def test_sizes_in_any_order_give_the_same_growth(scale):
    found = scale(2000, 1000)
    assert [row["images"] for row in found["rows"]] == [1000, 2000]
    assert found["growth_of_processor_time_per_image"] == 2
    found = scale(4000, 500)
    assert [row["images"] for row in found["rows"]] == [500, 1000, 2000, 4000]
    assert found["growth_of_wall_time_per_image"] == 2


def test_rows_of_other_workers_are_not_added(scale):
    scale(1000)
    with pytest.raises(SystemExit, match="of the same threads"):
        scale(2000, workers=1)
    assert scale(1000)["threads"] == 2
