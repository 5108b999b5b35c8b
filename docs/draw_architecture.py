"""The picture of docs/architecture.md, drawn from the imports of the package.

``python docs/draw_architecture.py`` writes docs/images/architecture.svg; a test checks that it is current.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "rlcl"
PICTURE = ROOT / "docs" / "images" / "architecture.svg"

# Top to bottom: a part imports what stands above it, and its neighbours on the same line.
LAYERS = (
    (
        "errors",
        "error_origin",
        "registry",
        "seeding",
        "threads",
        "state",
        "lock",
        "process_group",
        "formats",
        "strict_json",
        "run_format",
        "console",
    ),
    ("statistics",),
    ("types",),
    ("config",),
    ("data",),
    ("doctor",),
    ("streams", "encoders", "networks"),
    ("evaluation",),
    ("methods",),
    ("learners",),
    ("protection",),
    ("training",),
    ("objective",),
    ("experiment",),
    ("tracking",),
    ("comparison",),
    ("report",),
    ("sinks",),
    ("launch",),
    ("study",),
    ("reproduction",),
    ("deploy",),
    ("commands",),
)
PARTS = tuple(name for names in LAYERS for name in names)

CELL, LEFT, TOP, RIGHT = 22, 150, 108, 12
FONT = "font-family='ui-sans-serif, system-ui, sans-serif' font-size='13'"
SMALL = FONT.replace("13", "11")


def part_of(path: Path) -> str:
    """Return the part that a file of the package belongs to: its folder, or its own name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Return the parts that a file imports, those for type checking alone included."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [
        f"{node.module}.{alias.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    ]
    names += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    found = {name.split(".")[1] for name in names if name.startswith("rlcl.")}
    return found & set(PARTS) - {part_of(path)}


def files() -> list[Path]:
    """Return the modules of the package, its own ``__init__`` and ``__main__`` left out."""
    return [path for path in sorted(PACKAGE.rglob("*.py")) if not part_of(path).startswith("__")]


def counts() -> Counter[tuple[str, str]]:
    """Count, for each pair of parts, the modules of the first that import the second."""
    return Counter((part_of(path), other) for path in files() for other in imported(path))


def drawn() -> str:
    """Return the picture as SVG: a row and a column a part, a cell where the row imports the column."""
    found, modules = counts(), Counter(map(part_of, files()))
    size = len(PARTS) * CELL
    width, height = LEFT + size + RIGHT, TOP + size + RIGHT
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}'>",
        "<title>Which part of rlcl imports which</title>",
        f"<rect width='{width}' height='{height}' fill='white'/>",
        *_layers(),
        *_labels(modules),
        *(_cell(row, column, found[row, column]) for row, column in sorted(found)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _layers() -> Iterable[str]:
    first = 0
    for names in LAYERS:
        last = first + len(names)
        x, y = LEFT + first * CELL, TOP + first * CELL
        yield f"<rect x='{LEFT}' y='{y}' width='{last * CELL}' height='{len(names) * CELL}' fill='#eef2f7'/>"
        yield f"<rect x='{x}' y='{y}' width='{len(names) * CELL}' height='{len(names) * CELL}' fill='#cbd5e1'/>"
        first = last
    for place in range(len(PARTS) + 1):
        x, y, end = LEFT + place * CELL, TOP + place * CELL, len(PARTS) * CELL
        yield f"<path d='M{x} {TOP}v{end}M{LEFT} {y}h{end}' stroke='white' fill='none'/>"


def _labels(modules: Counter[str]) -> Iterable[str]:
    for place, name in enumerate(PARTS):
        y, x = TOP + place * CELL + 16, LEFT + place * CELL + 15
        text = f"{escape(name)} <tspan fill='#64748b'>{modules[name]}</tspan>"
        yield f"<text x='{LEFT - 8}' y='{y}' text-anchor='end' {FONT}>{text}</text>"
        yield f"<text transform='translate({x} {TOP - 8}) rotate(-90)' {FONT}>{escape(name)}</text>"


def _cell(row: str, column: str, count: int) -> str:
    x, y = LEFT + PARTS.index(column) * CELL, TOP + PARTS.index(row) * CELL
    shade = "#93c5fd" if count < 5 else "#3b82f6" if count < 20 else "#1d4ed8"
    ink = "black" if count < 5 else "white"
    return (
        f"<rect x='{x + 1}' y='{y + 1}' width='{CELL - 2}' height='{CELL - 2}' fill='{shade}'/>"
        f"<text x='{x + CELL / 2}' y='{y + 15}' text-anchor='middle' fill='{ink}' {SMALL}>{count}</text>"
    )


if __name__ == "__main__":
    PICTURE.write_text(drawn())
    sys.stdout.write(f"wrote {PICTURE.relative_to(ROOT)}\n")
