"""Measure how often the monitor raises a false alarm over its whole life if successive requests are correlated.

Each row contains a thousand lives of six windows of 500 requests in which nothing changes. ``upper`` is a bound that
the true rate exceeds in one of forty such measurements (Clopper & Pearson 1934). The requests are

- classes of a Markov chain: ten classes with equal shares. A request has the class of the previous one with probability
  ``stay``, and otherwise a random class;
- features of such classes: 20 Gaussian features around the centre of the class, tested one by one and projected;
- digits in the order in which people wrote them: pieces of 250 successive images of scikit-learn's file. The reference
  is a random half of the images;
- losses in runs: 5,000 losses, of which a share of 5 or 20 % is wrong.

The levels of six windows sum to six sevenths of alpha. The levels of an endless life sum to alpha.

For each chain, the output also contains how often the first window with a changed class balance (one class from 10 to
25 %) is detected.

    python benchmarks/robustness/drift_lives.py [lives] [classes|features|digits|losses]
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from drift import Case
from scipy.stats import beta
from sklearn.datasets import load_digits

from rlcl.deploy.monitoring.comparisons import ClassShareComparison
from rlcl.deploy.monitoring.monitor import MonitorSettings
from rlcl.deploy.monitoring.performance import LossMonitor
from rlcl.deploy.monitoring.reference import KINDS
from rlcl.deploy.monitoring.statistics import window_level

RESULTS = Path(__file__).parents[1] / "results" / "drift_lives.json"
WINDOW, WINDOWS, CLASSES, PIECE, LOSSES = 500, 6, 10, 250, 5_000
STAYS = (0.8, 0.9, 0.5, 0.95, 0.0)
Array = np.ndarray[Any, Any]


def chain(rng: np.random.Generator, shares: Array, count: int, stay: float) -> Array:
    """Sample ``count`` classes of a Markov chain with the shares (K,) of the classes."""
    fresh, keeps = rng.choice(len(shares), count, p=shares), rng.random(count) < stay
    keeps[0] = False
    return fresh[np.maximum.accumulate(np.where(keeps, 0, np.arange(count)))]


def upper(found: int, lives: int) -> float:
    """Return the upper end of the two-sided 95 % interval of a share."""
    return 1.0 if found == lives else float(beta.ppf(0.975, found + 1, lives - found))


def features(stay: float) -> Case:
    middles = 1.5 * np.random.default_rng(0).standard_normal((CLASSES, 20))

    def independent(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
        labels = rng.integers(CLASSES, size=count)
        return (middles[labels] + 2 * rng.standard_normal((count, 20))).astype(np.float32), labels

    def draw(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
        labels = chain(rng, np.full(CLASSES, 1 / CLASSES), count, stay)
        return (middles[labels] + 2 * rng.standard_normal((count, 20))).astype(np.float32), labels

    fixed = np.random.default_rng(1)
    return Case("features", independent(fixed, 4_000), independent(fixed, 2_000), draw)


def written() -> Case:
    """Return the case of digits in the order of the file; the model is trained on the images of the reference."""
    data = load_digits()
    x, y = data.data.astype(np.float32), data.target
    chosen = np.random.default_rng(0).random(len(x)) < 0.5

    def draw(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
        starts = rng.integers(len(x) - PIECE, size=-(-count // PIECE))
        rows = (starts[:, None] + np.arange(PIECE)).ravel()[:count]
        return x[rows], y[rows]

    return Case("digits", (x[chosen], y[chosen]), (x[chosen], y[chosen]), draw)


def lived(case: Case, lives: int) -> dict[str, Any]:
    """Count the lives with a false alarm, by kind, and for the three kinds together, to which alpha applies."""
    kinds: Counter[str] = Counter()
    for seed in range(lives):
        x, y = case.draw(np.random.default_rng([seed, 7]), WINDOW * WINDOWS)
        found = {kind for kind, _ in case.alarms(x, y, feedback=False)[0]}
        kinds.update(found)
        kinds["any"] += bool(found & set(KINDS))
    told = {kind: kinds[kind] for kind in KINDS}
    return {"false_alarms": kinds["any"], "of": told, "upper": round(upper(kinds["any"], lives), 5)}


def predicted(stay: float, lives: int) -> dict[str, Any]:
    """Count the lives in which the comparison of class shares raises an alarm although the shares do not change."""
    alike, found = np.full(CLASSES, 1 / CLASSES), 0
    for seed in range(lives):
        rng = np.random.default_rng([seed, 6])
        shares = ClassShareComparison(tuple(map(str, range(CLASSES))), chain(rng, alike, 2_000, 0.0))
        windows = chain(rng, alike, WINDOW * WINDOWS, stay).reshape(WINDOWS, WINDOW)
        levels = [window_level(number, MonitorSettings().alpha) / len(KINDS) for number in range(1, WINDOWS + 1)]
        found += any(shares.compare(window, level).count for window, level in zip(windows, levels, strict=True))
    return {"false_alarms": found, "upper": round(upper(found, lives), 5)}


def found_shift(stay: float, lives: int) -> float:
    """Return the share of lives in which the second window, with one class at 25 %, is detected."""
    alike, shifted = np.full(CLASSES, 0.1), np.array([0.25, *[0.75 / 9] * 9])
    level, found = window_level(2, MonitorSettings().alpha) / len(KINDS), 0
    for seed in range(lives):
        rng = np.random.default_rng([seed, 8])
        shares = ClassShareComparison(tuple(map(str, range(CLASSES))), chain(rng, alike, 2_000, 0.0))
        found += shares.compare(chain(rng, shifted, WINDOW, stay), level).count > 0
    return found / lives


def losses(stay: float, share: float, lives: int) -> dict[str, Any]:
    """Count the lives in which worse losses are reported although the losses do not change."""
    found, wrong = 0, np.array([1 - share, share])
    for seed in range(lives):
        rng = np.random.default_rng([seed, 9])
        watch = LossMonitor((rng.random(1_000) < share).astype(float), unit=True)
        found += any(c.worse for c in watch.observe(chain(rng, wrong, LOSSES, stay).astype(float)))
    return {"false_alarms": found, "upper": round(upper(found, lives), 5)}


def rows(lives: int, part: str) -> Iterator[dict[str, Any]]:
    for stay in STAYS if part == "classes" else ():
        row = {"case": "classes", "stay": stay, "lives": lives, **predicted(stay, lives)}
        yield {**row, "shift_found": found_shift(stay, lives)}
    for stay in STAYS if part == "features" else ():
        yield {"case": "features", "stay": stay, "lives": lives, **lived(features(stay), lives)}
    if part == "digits":
        yield {"case": "digits", "lives": lives, **lived(written(), lives)}
    for stay in (0.5, 0.8, 0.0) if part == "losses" else ():
        for share in (0.05, 0.2):
            yield {"case": "losses", "stay": stay, "share": share, "lives": lives, **losses(stay, share, lives)}


def main(lives: int, parts: Sequence[str]) -> None:
    """Print the rows of some parts, and write them to ``RESULTS`` together with the existing rows of the others."""
    settings = {"window": WINDOW, "windows": WINDOWS, "losses": LOSSES}
    settings |= {"alpha": MonitorSettings().alpha, "delta": MonitorSettings().delta}
    command = f"python benchmarks/robustness/drift_lives.py {lives}"
    for part in parts:
        made = []
        for row in rows(lives, part):
            made.append(row)
            print(row, flush=True)
            kept = json.loads(RESULTS.read_text())["rows"] if RESULTS.is_file() else []
            others = [each for each in kept if each["case"] != part]
            told = {"command": command, "settings": settings, "rows": [*others, *made]}
            RESULTS.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000, sys.argv[2:] or ("classes", "features", "digits", "losses"))
