"""Measure the false alarms of the monitor, and its delay in detecting a change.

There are two models, each with twenty thousand requests with feedback. The requests of the classifier of digits are
held-out images, sampled with replacement. The reference and the requests of the classifier of Gaussian features are
sampled separately. There are four cases: no change, a shift of all features by one standard deviation, a shift of one
feature by one standard deviation, and wrong labels that reduce the accuracy by 15 points. A change starts at a random
request shortly after the ten thousandth.

    python benchmarks/robustness/drift.py [seeds]
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from rlcl.data.readers.scikit import Digits
from rlcl.deploy.log import AnswerPage
from rlcl.deploy.monitoring.monitor import BLOCK, Monitor, MonitorSettings
from rlcl.deploy.monitoring.reference import ReferenceSample
from rlcl.deploy.signature import Field, Signature

RESULTS = Path(__file__).parents[1] / "results" / "drift.json"
REQUESTS, BEGINS, PAGE = 20_000, 10_000, 500
POINTS = 0.15
Array = np.ndarray[Any, Any]
Draw = Callable[[np.random.Generator, int], tuple[Array, Array]]  # returns inputs and labels of n requests


class Case:
    """A model, its held-out sample, and the function that samples its requests."""

    def __init__(self, name: str, train: tuple[Array, Array], held_out: tuple[Array, Array], draw: Draw) -> None:
        self.name, self.draw = name, draw
        self.model = LogisticRegression(max_iter=300).fit(*train)
        x, y = held_out
        self.spread = x.std(0)
        self.signature = Signature(
            kind="classifier",
            inputs=(Field(name="input", shape=x.shape[1:], dtype="float32"),),
            outputs=(Field(name="class", shape=(), dtype="int64"),),
            classes=tuple(map(str, self.model.classes_)),
        )
        self.reference = ReferenceSample(self.signature, {"input": x}, {"class": self.model.predict(x)}, y)

    def requests(self, seed: int, change: str) -> tuple[Array, Array, int]:
        """Return inputs, labels, and the number of requests before the change."""
        rng = np.random.default_rng([seed, len(change)])
        x, y = self.draw(rng, REQUESTS)
        begins = BEGINS + int(rng.integers(PAGE))
        if change == "all features":
            x[begins:] += self.spread
        if change == "one feature":
            feature = int(rng.choice(np.flatnonzero(self.spread > 0)))
            x[begins:, feature] += self.spread[feature]
        if change == "accuracy":
            right = np.flatnonzero(self.model.predict(x[begins:]) == y[begins:])
            share = POINTS * (REQUESTS - begins) / len(right)
            wrong = begins + right[rng.random(len(right)) < share]
            y[wrong] = (y[wrong] + 1) % len(self.model.classes_)
        return x, y, begins

    def alarms(self, x: Array, y: Array, feedback: bool = True) -> tuple[list[tuple[str, int]], float]:
        """Return the kind and last request of every alarm, and the processor time of the monitor in seconds."""
        monitor, predicted = Monitor(lambda _: self.reference, MonitorSettings()), self.model.predict(x)
        found, spent = [], 0.0
        for start in range(0, len(x), PAGE):
            page = self._page(x, y, predicted, start, start + PAGE)
            places = range(start, start + PAGE, BLOCK) if feedback else ()
            blocks = [self._page(x, y, predicted, at, at + BLOCK) for at in places]
            started = time.process_time()
            lines = [*monitor.observe(page), *(line for block in blocks for line in monitor.observe_feedback(block))]
            spent += time.process_time() - started
            found += [(line["kind"], line["requests"][1]) for line in lines if line["line"] == "alarm"]
        return found, spent

    def _page(self, x: Array, y: Array, predicted: Array, start: int, end: int) -> AnswerPage:
        numbers = np.arange(start + 1, end + 1)
        return AnswerPage(
            numbers=numbers,
            times=numbers.astype(np.float64),
            bundle="digest",
            signature=self.signature,
            task_ids=[None] * (end - start),
            inputs={"input": x[start:end]},
            outputs={"class": predicted[start:end]},
            feedback=[str(label) for label in y[start:end]],
            episodes=[None] * (end - start),
        )


def digits() -> Case:
    data = Digits().load()
    train, held_out = (
        (inputs.numpy().reshape(len(inputs), -1).astype(np.float32), labels.numpy())
        for inputs, labels in ((data.train_inputs, data.train_labels), (data.test_inputs, data.test_labels))
    )

    def draw(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
        rows = rng.integers(len(held_out[0]), size=count)
        return held_out[0][rows], held_out[1][rows]

    return Case("digits", train, held_out, draw)


def gaussian() -> Case:
    middles = 1.2 * np.random.default_rng(0).standard_normal((4, 20))

    def draw(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
        labels = rng.integers(4, size=count)
        return (middles[labels] + 2 * rng.standard_normal((count, 20))).astype(np.float32), labels

    fixed = np.random.default_rng(1)
    return Case("gaussian", draw(fixed, 4_000), draw(fixed, 2_000), draw)


def measured(case: Case, change: str, seeds: int) -> dict[str, Any]:
    """Return a row: the number of false alarms, and the delay of the first alarm after the change.

    Delays are in requests; None if the change was not detected.
    """
    false, delays, first, seconds = 0, [], [], 0.0
    for seed in range(seeds):
        x, y, begins = case.requests(seed, change)
        found, spent = case.alarms(x, y)
        begins = REQUESTS if change == "none" else begins
        false += sum(at <= begins for _, at in found)
        soonest = min((at for _, at in found if at > begins), default=None)
        delays.append(None if soonest is None else soonest - begins)
        first.append([kind for kind, at in found if at == soonest])
        seconds += spent
    row: dict[str, Any] = {"case": case.name, "change": change, "seeds": seeds, "false_alarms": false}
    if change != "none":
        known = [d for d in delays if d is not None]
        row |= {"found": len(known), "delays": delays, "first": first}
        row |= {"delay_median": float(np.median(known)), "delay_max": max(known)} if known else {}
    return {**row, "microseconds_a_request": round(1e6 * seconds / seeds / REQUESTS, 1)}


def main(seeds: int) -> None:
    """Print the rows, and write them to ``RESULTS``."""
    rows = []
    for case in (digits(), gaussian()):
        for change in ("none", "all features", "one feature", "accuracy"):
            rows.append(measured(case, change, seeds))
            print(rows[-1], flush=True)
    settings = {
        "requests": REQUESTS,
        "window": MonitorSettings().window,
        "alpha": MonitorSettings().alpha,
        "delta": MonitorSettings().delta,
    }
    command = f"python benchmarks/robustness/drift.py {seeds}"
    RESULTS.write_text(json.dumps({"command": command, "settings": settings, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
