"""Imports go one way, and the command line stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rlcl

PACKAGE = Path(rlcl.__file__).parent
# Top to bottom: a part may import what stands above it, for type checking too, and its neighbours on the same line.
LAYERS = (
    {"blame", "errors", "formats", "lock", "registry", "seeding", "state"},
    {"statistics"},
    {"types"},
    {"config"},
    {"data"},
    {"streams", "encoders", "networks"},
    {"evaluation"},
    {"methods"},
    {"learners"},
    {"training"},
    {"objective"},
    {"experiment"},
    {"tracking"},
    {"comparison"},
    {"report"},
    {"sinks"},
    {"launch"},
    {"study"},
    {"reproduction"},
    {"deploy"},
    {"commands"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imported(path: Path) -> set[str]:
    """The parts of rlcl that a file imports, those for type checking alone included."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [
        f"{n.module}.{alias.name}" for n in nodes if isinstance(n, ast.ImportFrom) and n.module for alias in n.names
    ]
    names += [a.name for n in nodes if isinstance(n, ast.Import) for a in n.names]
    return {name.split(".")[1] for name in names if name.startswith("rlcl.") and name.split(".")[1] in LEVEL}


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = [p for p in sorted(PACKAGE.rglob("*.py")) if not part(p).startswith("__")]


def test_every_part_has_its_layer() -> None:
    assert set(LEVEL) == {part(path) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    upwards = {name for name in imported(path) if LEVEL[name] > LEVEL[part(path)]}
    assert upwards == set()


@pytest.mark.parametrize("path", sorted((PACKAGE.parent / "envs").rglob("*.py")), ids=lambda p: p.name)
def test_our_environments_never_import_rlcl(path: Path) -> None:
    names = [n.module or "" for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
    names += [a.name for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Import) for a in n.names]
    assert [] == [name for name in names if name.split(".")[0] == "rlcl"]


def test_public_names_are_all_there_and_few() -> None:
    assert sorted(rlcl.PLACES) == rlcl.__all__
    assert all(hasattr(rlcl, name) for name in rlcl.__all__)
    assert len(rlcl.__all__) < 30


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
