"""Interpretation of table cells: numbers, the natural order of texts, and number notations that are not supported."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any

from rlcl.types import TableFormat

__all__ = ["DATES", "cell_text", "detect_notation", "missing_numbers", "natural_key", "parse_number"]

DIGITS = r"\d{1,3}(?:([ '.,\u00a0\u202f])\d{3})(?:\1\d{3})*"  # with a separator between groups of three digits
MONTHS = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
ISO_DATE = r"\d{4}[-/.]\d{1,2}(?:[-/.]\d{1,2})?"
DATE = rf"(?:{ISO_DATE}|\d{{1,2}}[-/.](?:\d{{1,2}}|{MONTHS})[-/.]\d{{2,4}}|\d{{1,2}} {MONTHS} \d{{4}})"
TIME = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[ap]m)?(?:z| ?[+-]\d{2}:?\d{2})?"
CURRENCY = r"(?:[$€£¥₹]|usd|eur|gbp|chf|jpy)"
AMOUNT = r"[+-]?\d[\d.,' ]*"
DATES = "dates or times"

# Pattern and remedy of each notation; the first one whose pattern matches all texts of a column is reported.
NOTATIONS = {
    "percentages": (r"[+-]?\d[\d.,]* ?%", "write them without %"),
    "amounts of money": (rf"[+-]?{CURRENCY} ?{AMOUNT}|{AMOUNT} ?{CURRENCY}", "write them without the currency"),
    "numbers with thousands separators": (
        rf"[+-]?(?:{DIGITS}(?:[.,]\d+)?|\d{{1,3}}(?:\.\d+)?)",
        "write them without separators",
    ),
    "numbers with a decimal comma": (r"[+-]?\d*,?\d+(?:e[+-]?\d+)?", "write them with a decimal point"),
    "negative numbers in parentheses, or with a minus sign that is not a hyphen": (
        r"[+-]?\d[\d.]*|[\u2212\u2013] ?\d[\d.]*|\(\d[\d.]*\)",
        "write them with a hyphen, as -1",
    ),
    DATES: (rf"{DATE}(?:[t ]{TIME})?|{TIME}", "write them as numbers, such as days since the first"),
}  # fmt: skip
PATTERNS = {name: re.compile(pattern, re.IGNORECASE) for name, (pattern, _) in NOTATIONS.items()}


def parse_number(text: str) -> float | None:
    """Return the number that a text represents; None for any other text, including NaN."""
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isnan(value) or "_" in text else value


def natural_key(text: str) -> tuple[int, float, str]:
    """Return a sort key that orders numbers by value, before texts; NaN has no order and counts as a text."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    return (1, 0.0, text) if math.isnan(value) else (0, value, text)


def cell_text(cell: Any) -> str:
    """Return the text of a cell in a column of texts: ``3`` if the file contains the number 3.0."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def missing_numbers(table_format: TableFormat | None) -> tuple[float, ...]:
    """Return the numbers that mean a missing value in a table format."""
    numbers = () if table_format is None else (parse_number(text) for text in table_format.missing)
    return tuple(value for value in numbers if value is not None)


def detect_notation(texts: Collection[str]) -> tuple[str, str] | None:
    """Return the notation that all texts have in common, such as ``percentages``, and the remedy.

    Args:
        texts: distinct texts of a column.

    Returns:
        None if all texts are numbers, or have no known notation in common.
    """
    if not texts or all(parse_number(text) is not None for text in texts):
        return None
    for name, pattern in PATTERNS.items():
        if all(pattern.fullmatch(text) for text in texts):
            return name, NOTATIONS[name][1]
    return None
