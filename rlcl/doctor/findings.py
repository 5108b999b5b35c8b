"""Findings of an examination."""

from __future__ import annotations

from typing import Any, Literal

from attrs import asdict, frozen

__all__ = ["SEVERITIES", "Finding", "Severity"]

Severity = Literal["ok", "note", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("ok", "note", "warning", "error")


@frozen
class Finding:
    """What a check of an environment found.

    Args:
        check: name of the check.
        severity: ``error``: a run would fail, or its results would be wrong. ``warning``: a learner is likely to learn
            badly, or results are likely to be misread. ``note``: a fact to know. ``ok``: the check found nothing.
        text: what was found, with the place.
        remedy: what to do; "" for ``ok`` and for facts.
    """

    check: str
    severity: Severity
    text: str
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
