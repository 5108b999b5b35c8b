"""What was found out under the present code, in files that survive an interruption."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, field

__all__ = ["ANSWERING", "ROOT", "TAKING", "Kept", "fingerprint", "key_of"]

ROOT = Path(__file__).parents[2]
ANSWERING = ("asking.py", "materials.py", "worlds.py")  # of this folder; the rest stands in the configs
TAKING = (*ANSWERING, "forking.py", "taking.py")


def fingerprint(names: Sequence[str]) -> str:
    """Of the project's code and of some files of this folder."""
    found = hashlib.sha256()
    files = [*(ROOT / "rlcl").rglob("*.py"), *(ROOT / "envs").rglob("*.py")]
    for path in (*sorted(files), *(Path(__file__).with_name(name) for name in names)):
        found.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return found.hexdigest()[:12]


@define
class Kept:
    """What became of combinations under the present code, in a file that survives an interruption.

    Args:
        path: of a file of JSON lines.
        before: files of the same under other code, the newest last: what was true may still be, and is to be confirmed.
    """

    path: Path
    before: Sequence[Path] = ()
    found: dict[str, dict[str, Any]] = field(init=False, factory=dict)
    likely: dict[str, dict[str, Any]] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        for path in self.before:
            self.likely |= _read(path)
        self.found = _read(self.path)

    def add(self, key: str, content: Mapping[str, Any]) -> None:
        self.found[key] = {"key": key, **content}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(self.found[key]) + "\n")


def _read(path: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        with suppress(ValueError):  # the last line of one that was killed
            each = json.loads(line)
            found[each["key"]] = each
    return found


def key_of(config: Mapping[str, Any]) -> str:
    """Of a config, by its content."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:24]
