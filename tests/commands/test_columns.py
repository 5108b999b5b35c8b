"""Plain columns."""

from __future__ import annotations

import re

import pytest

from rlcl.commands.columns import print_columns


def test_columns_are_as_wide_as_their_widest_cell(capsys: pytest.CaptureFixture[str]) -> None:
    print_columns(["run", "step"], [["a", "1"], ["bcde", "12,345"]], right={1}, red=())
    assert "run     step\na          1\nbcde  12,345\n" == capsys.readouterr().out


def test_lines_are_cut_at_the_edge_of_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "6")
    print_columns(["run", "result"], [["a", "0.5"]], right=(), red=())
    told = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out)  # without bold
    assert "run  r\na    0\n" == told
