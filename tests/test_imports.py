"""Imports go one way, and the command line stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

import rlcl

PICTURE = spec_from_file_location("draw_architecture", Path(rlcl.__file__).parents[1] / "docs" / "draw_architecture.py")
assert PICTURE is not None
assert PICTURE.loader is not None
architecture = module_from_spec(PICTURE)
PICTURE.loader.exec_module(architecture)

PACKAGE, FILES = architecture.PACKAGE, architecture.files()
LEVEL = {name: level for level, names in enumerate(architecture.LAYERS) for name in names}


def test_every_part_has_its_layer() -> None:
    assert set(LEVEL) == {architecture.part_of(path) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    level = LEVEL[architecture.part_of(path)]
    upwards = {name for name in architecture.imported(path) if LEVEL[name] > level}
    assert upwards == set()


def test_the_picture_shows_the_present_imports() -> None:
    assert architecture.PICTURE.read_text() == architecture.drawn(), "run python docs/draw_architecture.py"


@pytest.mark.parametrize("path", sorted((PACKAGE.parent / "envs").rglob("*.py")), ids=lambda p: p.name)
def test_our_environments_never_import_rlcl(path: Path) -> None:
    names = [n.module or "" for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
    names += [a.name for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Import) for a in n.names]
    assert [] == [name for name in names if name.split(".")[0] == "rlcl"]


def test_public_names_are_all_there_and_few() -> None:
    assert sorted(rlcl.MODULES) == rlcl.__all__
    assert all(hasattr(rlcl, name) for name in rlcl.__all__)
    assert len(rlcl.__all__) < 36


def test_help_imports_the_command_line_and_nothing_slow() -> None:
    code = (
        "import sys; from rlcl.commands import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    names = {name for name in found.stdout.splitlines()[-1].split() if not name.startswith("_")}
    allowed = {"annotated_doc", "attr", "markdown_it", "mdurl", "pygments", "rich", "rlcl", "shellingham", "typer"}
    assert allowed >= names - set(sys.stdlib_module_names)


def test_help_and_listing_runs_import_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from rlcl.commands import main\n"
        f"try: main(['runs', 'list', '--root', {str(tmp_path)!r}])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules, 'torch'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
