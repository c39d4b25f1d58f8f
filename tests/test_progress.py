"""A bar moves on a terminal; a log gets a line now and then."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sonobalance import progress


def shown(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, every: float) -> str:
    """What is written while ten units of a bar go by."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=100, highlight=False)
    monkeypatch.setattr(progress, "console", console)
    monkeypatch.setattr(progress, "LINE_EVERY_S", every)
    with progress.bar("training", 10, 2) as bar:
        for unit in range(8):
            bar.advance(1, f"KID {unit}")
    return written.getvalue()


def test_a_log_gets_a_line_with_what_is_done_and_how_it_stands(monkeypatch):
    lines = shown(monkeypatch, terminal=False, every=0.0).splitlines()
    assert [line.split(" of ")[0] for line in lines[:8]] == [f"training {n}" for n in range(3, 11)]
    assert lines[4].endswith("KID 4")
    assert "0:00" in lines[7]  # left


def test_a_log_is_not_flooded(monkeypatch):
    assert "training 3 of 10" not in shown(monkeypatch, terminal=False, every=3600.0)


def test_on_a_terminal_the_bar_alone_moves(monkeypatch):
    assert "training 3 of 10" not in shown(monkeypatch, terminal=True, every=0.0)


def test_a_hidden_bar_says_nothing(monkeypatch):
    monkeypatch.setattr(progress, "_bars", False)
    assert not shown(monkeypatch, terminal=False, every=0.0)
