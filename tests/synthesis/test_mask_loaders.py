"""Loader examples of an exported set: they give masks of synthetic images as of real ones."""

import json
import subprocess
import sys

import numpy as np
import pytest
from mask_files import inside, masks_of, rows_of

from sonobalance import export

CODE = {
    "torchvision": """
        import torch
        from torch.utils.data import DataLoader
        from torchvision.transforms import v2
        from load_torchvision import BalancedSet
        size = v2.Compose([v2.ToImage(), v2.Resize((48, 48)), v2.ToDtype(torch.float32)])
        data = BalancedSet(".", transform=size, masks=True)
        images, _, masks = next(iter(DataLoader(data, batch_size=99)))
        made = torch.tensor([row["origin"] == "synthetic" for row in data.rows])
    """,
    "monai": """
        from monai.data import DataLoader, Dataset
        from load_monai import entries, transforms
        data = Dataset(entries(".", masks=True), transforms(48, masks=True))
        batch = next(iter(DataLoader(data, batch_size=99)))
        images, masks, made = batch["image"], batch["mask"], batch["synthetic"]
    """,
    "datasets": """
        import numpy as np, torch
        from load_datasets import load
        data = [row for row in load(".") if row["masks"]]
        images = torch.tensor(np.stack([row["image"].resize((48, 48)) for row in data]))[:, None]
        masks = np.stack([row["masks"][0].resize((48, 48), 0) for row in data])[:, None]
        masks = torch.tensor(masks > 0)
        made = torch.tensor([row["origin"] == "synthetic" for row in data])
    """,
}
PRINT = """
import json, torch
masks = torch.as_tensor(masks).as_subclass(torch.Tensor).float()
print(json.dumps([list(images.shape), list(masks.shape), masks.unique().tolist(), made.tolist(),
                  masks[made].mean((1, 2, 3)).tolist()]))
"""


@pytest.mark.parametrize("library", CODE)
def test_loaders_give_masks_of_synthetic_images_as_of_real_ones(masked_run, tmp_path, library):
    if library != "torchvision":
        pytest.importorskip(library, reason=f"{library} is not installed")
    bare = masks_of(masked_run / "synthesis/masks")[0]
    (masked_run / "synthesis/masks" / bare).unlink()
    out = export(masked_run, out=tmp_path / "set", every_round=True)
    code = "\n".join(line.strip() for line in CODE[library].splitlines()) + PRINT
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=out,
        env={"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    images, masks, values, made, filled = json.loads(done.stdout.splitlines()[-1])
    rows = [row for row in rows_of(out) if row["masks"]]
    assert images == masks == [20 + len(rows), 1, 48, 48]
    assert set(values) <= {0, 1}
    assert made == [False] * 20 + [True] * len(rows)
    wanted = [inside(out / row["masks"]).mean() for row in rows]
    assert np.allclose(filled, wanted, atol=0.1)
