"""What can be done with synthetic images: judge, remake, sample, hand on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def memorisation(synthetic: Path, *, real: Path, out: Path, seed: int = 0) -> Path:
    """Find copies of real images among synthetic ones, ours or not.

    Writes `memorisation.csv` (file, nearest, distance, ratio, copy), `neighbours.csv`,
    `memorisation.json` with the verdict and its false-alarm rate, and `memorisation.html` with the
    ten closest pairs.

    Args:
        synthetic: folder of synthetic images, with or without class folders; masks are ignored. Of
            a run or an exported set, its synthetic images.
        real: the real images that the generator was trained with: whatever `index` reads, a run,
            or any folder of images.
        out: folder for the results.
        seed: of the altered copies by which the threshold is set.

    Raises:
        InputError: a folder is missing or holds no readable image, a run or set no synthetic one,
            or all real images are of one clip or patient.
    """
    from sonobalance.reporting.memorisation_page import write_memorisation_page
    from sonobalance.synthesis.memorisation import audit_memorisation

    document = audit_memorisation(synthetic, real, out, seed=seed)
    page = write_memorisation_page(document, synthetic, real, out)
    print(document["verdict"])
    return page


def sample(
    bundle: Path,
    *,
    label: Annotated[str, Parameter(name="--class")],
    n: int,
    out: Path,
    seed: int = 0,
    gates: bool = True,
    truncation: float = 1.0,
    interpolation: int = 0,
    tries: int = 20,
    drawn: bool = False,
) -> Path:
    """Draw synthetic images of a class from a generator bundle.

    Writes `images/CLASS/*.png` with their provenance, `masks/CLASS/*.png` of the same names where
    the generator draws lesions, too (`gan.synthesize_masks`), `manifest.csv`, `selection.csv`
    (every candidate and why it was refused), `contact-sheet.png` and `sample.json`.

    Args:
        bundle: generator bundle, or a run folder with one (RUN/synthesis/bundle).
        label: class.
        n: images wanted, 1 to 1000000.
        out: new or empty folder.
        seed: of every draw; the same seed gives the same images.
        gates: keep only images that pass every gate; --no-gates takes them as they come.
        truncation: factor of the latent noise, 0 to 2; lower is tamer and less diverse.
        interpolation: images from one latent to the next, up to 10000; 0 for unrelated images. Not
            gated.
        tries: most candidates per image wanted, 1 to 10000.
        drawn: images at the generator's side, also where the bundle would enlarge them to the side
            of the classifier that it was made for.

    Raises:
        InputError: there is no bundle, no such class, or `out` is not empty.
        SettingsError: a number is out of range.
    """
    import torch

    from sonobalance.errors import SettingsError
    from sonobalance.synthesis.drawing import Request, draw_images
    from sonobalance.synthesis.generator_bundle import open_generator_bundle

    for name, value, least, most in (
        ("n", n, 1, 1_000_000), ("truncation", truncation, 0, 2),
        ("interpolation", interpolation, 0, 10_000), ("tries", tries, 1, 10_000),
        ("seed", seed, 0, 2**63 - 1),
    ):  # fmt: skip
        if not least <= value <= most:
            raise SettingsError(f"Expected {name} from {least} to {most}, but got {value}.")
    opened = open_generator_bundle(bundle, torch.device("cpu"))
    request = Request(label, n, seed, truncation, interpolation, gates, tries, drawn)
    print(draw_images(opened, request, out)["sentence"])
    return out


def regenerate(
    id: str,
    folder: Path,
    *,
    bundle: Path | None = None,
    out: Path | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
) -> int:
    """Make one synthetic image again and say whether it is the same, pixel by pixel.

    Args:
        id: of the image or candidate, such as r1-malignant-00012.
        folder: run folder, its `synthesis` folder, a folder of `sample`, or an exported set.
        bundle: generator bundle; by default the generators inside the folder.
        out: PNG file to write the image to.
        device: type of device that made it; another rounds in its own way.

    Returns:
        0 when the image is the same (or was never written), 1 when pixels differ.

    Raises:
        InputError: there is no such image, its generator is not there, or no GPU.
    """
    import torch

    from sonobalance.data.images import write_png
    from sonobalance.errors import InputError
    from sonobalance.synthesis.regenerate import regenerate as remake

    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("Expected a CUDA GPU for --device cuda, but found none; give cpu.")
    remade = remake(folder, id, torch.device(device), bundle)
    if out is not None:
        write_png(out, remade.pixels, {"synthetic": "true", "generator": remade.generator})
    if remade.kept is None:
        print(f"{id} was made again; it was not kept, so there is no file to compare it with.")
    elif not remade.different:
        print(f"{id} was made again: every pixel is that of {remade.kept}.")
    else:
        print(
            f"{id} was made again, but {remade.different} of {remade.pixels.size} pixels differ "
            f"from {remade.kept}: another type of device or version of torch made it."
        )
    return int(remade.different > 0)


def export(
    run: Path,
    *,
    out: Path,
    layout: Literal["folders", "index"] = "folders",
    real: Literal["copy", "link", "leave-out"] = "copy",
    parts: Literal["train", "all"] = "train",
    every_round: bool = False,
    drawn: bool = False,
    licence: str = "",
    name: str = "",
) -> Path:
    """Hand on the balanced set: images, index, datasheet, Croissant metadata, loader examples.

    Writes class folders with BUSI's names (or `images/` with ids as names), `index.csv`,
    `DATASHEET.md`, `croissant.json`, `load_torchvision.py`, `load_monai.py`, `load_datasets.py`.
    Synthetic images are marked in their names, in the index and in the text of their PNG. Where the
    run enlarged them to the side of its classifier, the set has those.

    Args:
        run: run folder with accepted images.
        out: new or empty folder.
        layout: class folders, or one folder of images; `index.csv` is written for both.
        real: copy real images and masks, link to them, or leave them out.
        parts: TRAIN alone, or TRAIN, VAL and TEST each in a folder; synthetic images are in TRAIN.
        every_round: all accepted images, also of rounds that the harm guard would not use.
        drawn: synthetic images at the generator's side, as they were drawn.
        licence: terms of the source set; recognised for published sets.
        name: of the new set.

    Raises:
        InputError: there is nothing to export, or `out` is not empty.
        LeakError: a synthetic image stands in VAL or TEST.
    """
    from sonobalance.artefacts import splits_of
    from sonobalance.runs import open_run
    from sonobalance.synthesis.export_set import Wish, export_set

    opened = open_run(run)
    name = name or f"{opened.source.stem}-balanced"
    wish = Wish(layout, real, parts, every_round, drawn, licence, name)
    date = str(opened.record.get("created", ""))[:10]
    sentence = export_set(splits_of(opened), opened.path("synthesis"), out, wish, date)
    print(sentence)
    return out
