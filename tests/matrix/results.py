"""What a matrix came to: counts and failures as JSON, and a summary to read."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

__all__ = ["Failure", "summary", "write_results"]


@frozen
class Failure:
    """Combinations that failed in the same way.

    Args:
        sign: what they share.
        stage: where they failed.
        count: how many they are.
        text: what one said.
        file: the YAML of the smallest one.
        command: that repeats it.
        config: the same as plain data.
    """

    sign: tuple[str, str, str]
    stage: str
    count: int
    text: str
    file: str
    command: str
    config: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.sign[0],
            "stage": self.stage,
            "said": self.sign[2],
            "combinations": self.count,
            "command": self.command,
            "config": self.config,
        }


def summary(counts: Mapping[str, Any], failures: Sequence[Failure]) -> str:
    """A few lines, then each failure with the command that repeats it."""
    lines = [f"{name.replace('_', ' ')}: {_shown(value)}" for name, value in counts.items()]
    for number, failure in enumerate(failures, 1):
        lines += [
            "",
            f"failure {number}: {failure.sign[0]} at {failure.stage}, in {failure.count} combinations",
            f"  {failure.sign[2]}",
            f"  {failure.command}",
        ]
    lines += ["", f"{len(failures)} kinds of failure" if failures else "no failure"]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        return "; ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def write_results(path: Path, command: str, counts: Mapping[str, Any], failures: Sequence[Failure]) -> None:
    """Writes the JSON of a whole matrix."""
    content = {
        "command": command,
        "machine": {"python": platform.python_version(), "system": platform.system()},
        **counts,
        "failure_kinds": dict(Counter(failure.sign[0] for failure in failures)),
        "failures": [failure.to_json() for failure in failures],
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
