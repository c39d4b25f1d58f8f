"""Draw docs/architecture.svg: the data flow, one box per stage and one file per arrow."""

from __future__ import annotations

import argparse
from pathlib import Path
from xml.sax.saxutils import escape

TARGET = Path(__file__).parent / "architecture.svg"
BOXES = (  # name, file it leaves, column, row
    ("images", "folder · CSV · DICOM", 0, 0),
    ("index", "manifest.csv", 1, 0),
    ("audit", "groups.csv · audit.json", 2, 0),
    ("split", "splits.csv", 3, 0),
    ("train-gan", "gan/snapshot", 3, 1),
    ("synthesize", "images · selection.csv", 2, 1),
    ("train", "classifier/ARM", 1, 1),
    ("predict", "predictions.csv", 1, 2),
    ("evaluate", "evaluation.json", 2, 2),
    ("explain", "explanation.json · maps", 2, 3),
    ("report", "report.html", 3, 2),
)
ARROWS = (
    ("images", "index"), ("index", "audit"), ("audit", "split"), ("split", "train-gan"),
    ("train-gan", "synthesize"), ("synthesize", "train"), ("train", "predict"),
    ("predict", "evaluate"), ("evaluate", "report"), ("predict", "explain"), ("explain", "report"),
)  # fmt: skip
TRAIN_ONLY = {"train-gan", "synthesize"}
WIDTH, HEIGHT, GAP_X, GAP_Y = 190, 62, 60, 44
HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 440" font-family="sans-serif">'
    '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path d="M0 0 8 4 0 8z" fill="#444"/></marker></defs>'
    '<rect width="1000" height="440" fill="#fff"/>'
)


def picture() -> str:
    """The SVG text."""
    at = {name: _corner(column, row) for name, _, column, row in BOXES}
    lines = [_arrow(at[a], at[b]) for a, b in ARROWS]
    boxes = [_box(name, file, at[name]) for name, file, _, _ in BOXES]
    note = (
        '<text x="10" y="425" font-size="13" fill="#444">'
        "Shaded: opens TRAIN files only; the guard refuses every other.</text>"
    )
    return "\n".join([HEAD, *lines, *boxes, note, "</svg>\n"])


def _corner(column: int, row: int) -> tuple[int, int]:
    return 10 + column * (WIDTH + GAP_X), 10 + row * (HEIGHT + GAP_Y)


def _box(name: str, file: str, at: tuple[int, int]) -> str:
    fill = "#dcecf9" if name in TRAIN_ONLY else "#f5f5f2"
    x, y = at
    return (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="8" fill="{fill}" '
        f'stroke="#444"/><text x="{x + 95}" y="{y + 26}" font-size="17" text-anchor="middle" '
        f'font-weight="bold">{escape(name)}</text><text x="{x + 95}" y="{y + 47}" '
        f'font-size="12.5" text-anchor="middle" fill="#444">{escape(file)}</text>'
    )


def _arrow(a: tuple[int, int], b: tuple[int, int]) -> str:
    if a[1] == b[1]:
        side = 1 if b[0] > a[0] else -1
        start = (a[0] + (WIDTH if side > 0 else 0), a[1] + HEIGHT // 2)
        end = (b[0] + (0 if side > 0 else WIDTH), b[1] + HEIGHT // 2)
    elif a[0] == b[0]:
        start, end = (a[0] + WIDTH // 2, a[1] + HEIGHT), (b[0] + WIDTH // 2, b[1])
    else:
        down = b[1] > a[1]
        start = (a[0] + WIDTH - 20, a[1] + (HEIGHT if down else 0))
        end = (b[0] + 20, b[1] + (0 if down else HEIGHT))
    return (
        f'<line x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}" stroke="#444" '
        'stroke-width="1.6" marker-end="url(#a)"/>'
    )


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    TARGET.write_text(picture(), encoding="utf-8")
    print(TARGET)
