"""What a bundle says of the images that it was trained on."""

from pathlib import Path

from sonobalance.data.manifest import Manifest, Record
from sonobalance.data.split import Splits
from sonobalance.deployment.describe import training_hash


def test_other_images_of_one_archive_are_another_training_set():
    records = tuple(Record(f"id#{i}", "all.npz", "x", frame=i, sha256="a") for i in range(4))
    ids = [r.id for r in records]

    def hash_of(*train):
        part = {key: "train" if i in train else "test" for i, key in enumerate(ids)}
        group = {key: key for key in ids}
        return training_hash(Splits(Manifest(records, Path()), part, group, dict.fromkeys(ids, -1)))

    assert hash_of(0, 1) == hash_of(1, 0)
    assert len({hash_of(0, 1), hash_of(2, 3), hash_of(0)}) == 3
