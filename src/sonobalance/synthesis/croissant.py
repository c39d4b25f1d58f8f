"""Croissant metadata (MLCommons, format 1.0) of an exported set, as JSON-LD."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sonobalance.files import sha256_of
from sonobalance.synthesis.balanced_set import INDEX

DOCUMENT = "croissant.json"
CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
FIELDS = {
    "id": "Unique id of the image.",
    "path": "Image file, relative to this document.",
    "label": "Class.",
    "origin": "real or synthetic; synthetic images may train only.",
    "part": "train, val or test.",
    "group": "Key of relatives (patient, near-duplicates); empty for synthetic images.",
    "patient": "Pseudonymous patient key; empty where unknown.",
    "masks": "Lesion masks, separated by |; empty where there are none.",
    "sha256": "Hex SHA-256 of the image file.",
    "width": "Pixels.",
    "height": "Pixels.",
}
WHOLE_NUMBERS = ("width", "height")
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataBiases": "cr:dataBiases",
    "dataCollection": "cr:dataCollection",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "personalSensitiveInformation": "cr:personalSensitiveInformation",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(
    folder: Path,
    *,
    name: str,
    description: str,
    licence: str,
    citation: str,
    date: str,
    limits: Sequence[str],
    masks: str,
) -> dict[str, Any]:
    """The document for a set whose `index.csv` is written.

    Args:
        folder: of the set.
        name: of the set.
        description: what it is.
        licence: of the source set.
        citation: what to cite.
        date: ISO 8601.
        limits: known limits, one sentence or more each.
        masks: whose the masks of synthetic images are, in words; empty where there are no such
            images.
    """
    fields = FIELDS | {"masks": f"{FIELDS['masks']} {masks}".rstrip()}
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "balanced-set",
        "description": description,
        "conformsTo": CONFORMS_TO,
        "license": licence,
        "citeAs": citation,
        "datePublished": date,
        "version": "1.0.0",
        "creator": {"@type": "sc:Organization", "name": "The user of sonobalance"},
        "url": DOCUMENT,
        "isLiveDataset": False,
        "rai:dataLimitations": " ".join(limits),
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": INDEX,
                "name": INDEX,
                "description": "A row per image.",
                "contentUrl": INDEX,
                "encodingFormat": "text/csv",
                "sha256": sha256_of(folder / INDEX),
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "images",
                "name": "images",
                "description": "Every image of the set, real and synthetic.",
                "key": {"@id": "images/id"},
                "field": [_field(column, words) for column, words in fields.items()],
            }
        ],
    }


def _field(column: str, words: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"images/{column}",
        "name": column,
        "description": words,
        "dataType": "sc:Integer" if column in WHOLE_NUMBERS else "sc:Text",
        "source": {"fileObject": {"@id": INDEX}, "extract": {"column": column}},
    }
