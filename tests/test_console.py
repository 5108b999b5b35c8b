"""Texts of users on the console: names of files, classes, settings."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import pytest
from rich.table import Table

import rlcl
from rlcl.console import make_console

NAMES = ["runs [old]/a", "[red]x[/]", "[/nowhere]", "ferry.py:Ferry: return", "{task} \\[b]"]


@pytest.mark.parametrize("name", NAMES)
def test_text_is_printed_as_it_is(name: str) -> None:
    file = io.StringIO()
    console = make_console(file=file)
    table = Table("", name, title=name)
    table.add_row("", name)
    console.print(name)
    console.print(table)
    assert file.getvalue().count(name) == 4


def test_there_is_one_kind_of_console() -> None:
    (folder,) = rlcl.__path__
    made = [
        path.name
        for path in Path(folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Console"
    ]
    assert ["console.py", "console.py"] == made
