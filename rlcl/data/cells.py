"""Cells of tables: which texts are numbers, in which order texts come, and what a text that is no number may mean."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any

from rlcl.types import Reading

__all__ = ["DATES", "absent_numbers", "natural", "notation", "number", "text_of"]

DIGITS = r"\d{1,3}(?:([ '.,\u00a0\u202f])\d{3})(?:\1\d{3})*"  # with a separator after each three
MONTHS = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
ISO_DATE = r"\d{4}[-/.]\d{1,2}(?:[-/.]\d{1,2})?"
DATE = rf"(?:{ISO_DATE}|\d{{1,2}}[-/.](?:\d{{1,2}}|{MONTHS})[-/.]\d{{2,4}}|\d{{1,2}} {MONTHS} \d{{4}})"
TIME = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[ap]m)?(?:z| ?[+-]\d{2}:?\d{2})?"
CURRENCY = r"(?:[$€£¥₹]|usd|eur|gbp|chf|jpy)"
AMOUNT = r"[+-]?\d[\d.,' ]*"
DATES = "dates or times"

# What the texts of a whole column look like, and what to do; the first that fits all of them is named.
NOTATIONS = {
    "percentages": (r"[+-]?\d[\d.,]* ?%", "write them without %"),
    "amounts of money": (rf"[+-]?{CURRENCY} ?{AMOUNT}|{AMOUNT} ?{CURRENCY}", "write them without the currency"),
    "numbers with thousands separators": (
        rf"[+-]?(?:{DIGITS}(?:[.,]\d+)?|\d{{1,3}}(?:\.\d+)?)",
        "write them without separators",
    ),
    "numbers with a decimal comma": (r"[+-]?\d*,?\d+(?:e[+-]?\d+)?", "write them with a decimal point"),
    "negative numbers in parentheses, or with another sign than a hyphen": (
        r"[+-]?\d[\d.]*|[\u2212\u2013] ?\d[\d.]*|\(\d[\d.]*\)",
        "write them with a hyphen, as -1",
    ),
    DATES: (rf"{DATE}(?:[t ]{TIME})?|{TIME}", "write them as numbers, such as days since the first"),
}  # fmt: skip
PATTERNS = {name: re.compile(pattern, re.IGNORECASE) for name, (pattern, _) in NOTATIONS.items()}


def number(text: str) -> float | None:
    """The number that a text is; None for any other text, NaN among them."""
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isnan(value) or "_" in text else value


def natural(text: str) -> tuple[int, float, str]:
    """A key that sorts numbers by value, before texts; NaN, which compares with nothing, is a text."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    return (1, 0.0, text) if math.isnan(value) else (0, value, text)


def text_of(cell: Any) -> str:
    """A cell of a column of texts, ``3`` where a file has it as the number 3.0."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def absent_numbers(reading: Reading | None) -> tuple[float, ...]:
    """The numbers that stand for a missing value."""
    found = () if reading is None else (number(text) for text in reading.missing)
    return tuple(value for value in found if value is not None)


def notation(texts: Collection[str]) -> tuple[str, str] | None:
    """What all of some texts look like that are no numbers here, such as ``percentages``, and the remedy.

    Args:
        texts: the distinct ones of a column.
    """
    if not texts or all(number(text) is not None for text in texts):
        return None
    for name, pattern in PATTERNS.items():
        if all(pattern.fullmatch(text) for text in texts):
            return name, NOTATIONS[name][1]
    return None
