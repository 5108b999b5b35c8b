"""From the registry to the combinations that are run."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from matrix.asking import Asker
from matrix.covering import Covering
from matrix.factors import Matrix
from matrix.space import Combination

__all__ = ["drawn", "homes"]

# Where a learner may be at home; the matrix does not know which learns from what, and tries them in this order.
STREAMS = (
    ("class_incremental", "digits"),
    ("class_incremental", "npy"),
    ("data_incremental", "diabetes"),
    ("data_incremental", "digits"),
    ("environments", "env: masked"),
    ("environments", "env: cartpole"),
    ("environments", "env: gymnasium's cartpole"),
    ("environments", "env: pendulum"),
    ("task_incremental", "npz"),
    ("permuted", "table whole"),
    ("single", "csv regression"),
    ("single", "csv unlabelled"),
)


def homes(matrix: Matrix) -> dict[str, list[Combination]]:
    """Combinations to start from, by learner."""
    return {
        learner: [
            {"learner": learner, "stream": stream, "source": source, "encoder": encoder, "budget": budget}
            for stream, source in STREAMS
            if source in matrix.space.by_name["source"].values
            for encoder in ("identity", "scale", "flatten")
            for budget in ("env_steps" if stream == "environments" else "updates", "epochs")
            if not (stream == "environments" and budget == "epochs")
        ]
        for learner in matrix.components["learner"]
    }


def drawn(matrix: Matrix, asker: Asker, folder: Path, seed: int, report: Callable[[str], None]) -> Covering:
    """A covering set, drawn under what the project itself allows."""

    def judge(rows: Sequence[Combination]) -> list[str]:
        answers = asker.ask("build", [matrix.config(row, folder) for row in rows])
        return ["" if answer.allowed else answer.message for answer in answers]

    covering = Covering(matrix.space, judge, homes(matrix), "learner", random.Random(seed), report)
    covering.draw()
    return covering
