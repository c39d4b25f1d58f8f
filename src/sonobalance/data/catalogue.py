"""Public ultrasound sets that `fetch` knows: where they are, under which terms, what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from sonobalance.errors import InputError


@dataclass(frozen=True)
class Entry:
    """A published set.

    Attributes:
        name: short name on the command line.
        title: full name.
        page: address of the page that describes the set and its terms.
        url: address of the file; empty where the page must be visited.
        licence: terms, in the words of the source where it states any.
        citation: what to cite.
        counts: images per class that a complete copy has.
        checksum: ``algorithm:hex digest`` of the file; empty where the source gives none.
    """

    name: str
    title: str
    page: str
    url: str
    licence: str
    citation: str
    counts: Mapping[str, int] = field(default_factory=dict)
    checksum: str = ""


ENTRIES = (
    Entry(
        name="busi",
        title="BUSI, Breast Ultrasound Images",
        page="https://scholar.cu.edu.eg/?q=afahmy/pages/dataset",
        url="https://scholar.cu.edu.eg/Dataset_BUSI.zip",
        licence="No licence is stated on its page; the article is CC BY 4.0. Ask the authors "
        "before any use but research.",
        citation="Al-Dhabyani W, Gomaa M, Khaled H, Fahmy A. Dataset of breast ultrasound images. "
        "Data in Brief 2020;28:104863. doi:10.1016/j.dib.2019.104863",
        counts={"benign": 437, "malignant": 210, "normal": 133},
    ),
    Entry(
        name="bus-bra",
        title="BUS-BRA, a Breast Ultrasound Dataset",
        page="https://zenodo.org/records/8231412",
        url="https://zenodo.org/records/8231412/files/BUSBRA.zip?download=1",
        licence="Free use with its notice kept; every publication must cite the article.",
        citation="Gómez-Flores W, Gregorio-Calas MJ, Coelho de Albuquerque Pereira W. BUS-BRA: A "
        "breast ultrasound dataset for assessing computer-aided diagnosis systems. "
        "Medical Physics 2024;51(4):3110-3123. doi:10.1002/mp.16812",
        counts={"benign": 1268, "malignant": 607},
    ),
    Entry(
        name="bus-uclm",
        title="BUS-UCLM, Breast Ultrasound Lesion Segmentation Dataset",
        page="https://data.mendeley.com/datasets/7fvgj4jsp7",
        url="",
        licence="CC BY 4.0",
        citation="Vallez N, Bueno G, Deniz O, Rienda MA, Pastor C. BUS-UCLM: Breast ultrasound "
        "lesion segmentation dataset. Scientific Data 2025;12:242. "
        "doi:10.1038/s41597-025-04562-3",
        counts={"benign": 174, "malignant": 90, "normal": 419},
    ),
    Entry(
        name="breastmnist",
        title="BreastMNIST (BUSI at 28 x 28 pixels), of MedMNIST v2",
        page="https://zenodo.org/records/10519652",
        url="https://zenodo.org/records/10519652/files/breastmnist.npz?download=1",
        licence="CC BY 4.0",
        citation="Yang J, Shi R, Wei D, et al. MedMNIST v2: A large-scale lightweight benchmark "
        "for 2D and 3D biomedical image classification. Scientific Data 2023;10:41. "
        "doi:10.1038/s41597-022-01721-8",
        counts={"malignant": 210, "normal or benign": 570},
    ),
)


def find(name: str) -> Entry:
    """The entry of a name, in any case.

    Raises:
        InputError: there is none; the nearest name is given.
    """
    known = {entry.name: entry for entry in ENTRIES}
    if (entry := known.get(name.lower())) is not None:
        return entry
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise InputError(f"Expected one of {', '.join(known)}, but got {name!r}{hint}")


def notice(name: str) -> str:
    """What a user should read before a set is fetched: its terms, citation and size.

    Raises:
        InputError: there is no such set.
    """
    entry = find(name)
    counts = ", ".join(f"{n} {label}" for label, n in entry.counts.items())
    return (
        f"{entry.title}\n"
        f"Page:     {entry.page}\n"
        f"Licence:  {entry.licence}\n"
        f"Cite:     {entry.citation}\n"
        f"Images:   {counts}\n"
    )
