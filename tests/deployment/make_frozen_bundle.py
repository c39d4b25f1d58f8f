"""Make the frozen bundle of a format version: `python make_frozen_bundle.py WORK_FOLDER`.

Run it once for a new format version and commit `frozen_vN.zip`; never make an old one again. The
network is trained on phantoms; its weights are rounded to bfloat16 so that the ZIP stays small.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from sonobalance import api, runs
from sonobalance.config import Settings
from sonobalance.data.phantoms import make_phantoms
from sonobalance.files import sha256_of, write_json
from sonobalance.stages import STAGES
from sonobalance.version import BUNDLE_FORMAT

SETTINGS = Settings.model_validate({
    "arms": ["none"],
    "audit": {"exhaustive_up_to": 0, "shortlist_size": 2},
    "classifier": {
        "backbone": "test_efficientnet", "lesion_attention": False, "image_size_px": 64,
        "batch_size": 8, "epochs": 40,
        "patience_epochs": 15, "backbone_lr": 3e-3, "head_lr": 1e-3,
    },
})  # fmt: skip


def main(work: Path) -> None:
    phantoms = make_phantoms(work / "phantoms", images=160, size_px=96)
    (work / "run").mkdir()
    run = runs.create(work / "run", phantoms, SETTINGS, None)
    for name in ("index", "audit", "split", "train"):
        run.perform(STAGES[name])
    round_weights(run.path("classifier/none"))
    for name in ("predict", "evaluate"):
        run.perform(STAGES[name])
    api.bundle(run.folder, out=work / "frozen", name="frozen phantoms", licence="Apache-2.0")
    shutil.copy(work / "frozen.zip", Path(__file__).with_name(f"frozen_v{BUNDLE_FORMAT}.zip"))


def round_weights(folder: Path) -> None:
    path = folder / "weights.safetensors"
    tensors = load_file(path)
    rounded = {
        name: value.bfloat16().float() if value.dtype == torch.float32 else value
        for name, value in tensors.items()
    }
    save_file(rounded, path)
    page = json.loads((folder / "model.json").read_text())
    write_json(folder / "model.json", page | {"weights_sha256": sha256_of(path)})


main(Path(sys.argv[1]))
