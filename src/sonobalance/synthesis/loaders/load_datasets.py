"""The balanced set for Hugging Face datasets: `python load_datasets.py` prints its features.

VAL and TEST must hold real images only; `origin` in index.csv tells them from synthetic ones.
"""

import csv
from pathlib import Path

from datasets import ClassLabel, Dataset, Features, Image, Sequence, Value


def load(root, part="train"):
    """A datasets.Dataset with image, masks, label, origin, group and id.

    Images are decoded when used. `masks` are the lesion masks of an image, none where it has none;
    their union is the lesion.
    """
    with (Path(root) / "index.csv").open(newline="", encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if row["part"] == part]
    classes = sorted({row["label"] for row in rows})
    features = Features({
        "image": Image(mode="L"), "masks": Sequence(Image(mode="L")),
        "label": ClassLabel(names=classes), "origin": Value("string"), "group": Value("string"),
        "id": Value("string"),
    })  # fmt: skip
    columns = {key: [row[key] for row in rows] for key in ("label", "origin", "group", "id")}
    columns["image"] = [str(Path(root) / row["path"]) for row in rows]
    columns["masks"] = [
        [str(Path(root) / name) for name in row["masks"].split("|") if name] for row in rows
    ]
    return Dataset.from_dict(columns, features=features)


if __name__ == "__main__":
    images = load(Path(__file__).parent)
    print(images.features)
    print(images[0]["image"].size, images[0]["label"], images[0]["origin"], len(images))
