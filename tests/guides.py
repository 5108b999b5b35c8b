"""The files that the guides show, for tests that run them."""

from __future__ import annotations

import re
from pathlib import Path

GUIDES = Path(__file__).parents[1] / "docs" / "how-to"
FILE = re.compile(r"^```python title=\"([^\"]+)\"\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def shown_file(guide: str, name: str, folder: Path) -> Path:
    """Writes a Python file that a guide shows to a folder.

    Args:
        guide: its file name.
        name: of the file.
        folder: where to.
    """
    (folder / name).write_text(dict(FILE.findall((GUIDES / guide).read_text()))[name])
    return folder / name
