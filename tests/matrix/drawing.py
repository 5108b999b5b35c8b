"""From the registry to the combinations that are run."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matrix.asking import Asker
from matrix.covering import Covering
from matrix.earlier import Earlier
from matrix.factors import Matrix
from matrix.kept import Kept, key_of
from matrix.space import Combination

__all__ = ["ask_new", "drawn", "homes"]

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
            if source in matrix.space.by_name["source"].values and stream in matrix.space.by_name["stream"].values
            for encoder in ("identity", "scale", "flatten")
            for budget in ("env_steps" if stream == "environments" else "updates", "epochs")
            if not (stream == "environments" and budget == "epochs")
        ]
        or [{"learner": learner}]
        for learner in matrix.space.by_name["learner"].values
    }


def drawn(
    matrix: Matrix,
    asker: Asker,
    answers: Kept,
    folder: Path,
    seed: int,
    most: int,
    report: Callable[[str], None],
    earlier: Earlier = Earlier(),  # noqa: B008
) -> Covering:
    """A covering set, drawn under what the project itself allows.

    Args:
        matrix: factors and values.
        asker: asks the project.
        answers: those that were given before.
        folder: of the materials.
        seed: of what is drawn.
        most: see :meth:`matrix.covering.Covering.draw`.
        report: told of progress.
        earlier: a covering to begin with.
    """

    def judge(rows: Sequence[Combination]) -> list[str]:
        configs = [matrix.config(row, folder) for row in rows]
        known = {**answers.likely, **answers.found}
        ask_new([config for config in configs if key_of(config) not in known], asker, answers)
        known |= answers.found
        return [known[key_of(config)]["refused"] for config in configs]

    covering = Covering(matrix.space, judge, homes(matrix), "learner", random.Random(seed), report)
    if earlier.rows:
        covering.resume(earlier.rows, earlier.refused)
    covering.draw(most)
    return covering


def ask_new(configs: Sequence[Mapping[str, Any]], asker: Asker, answers: Kept) -> int:
    """Asks about configs of which nothing is known under the present code; how many answers are other than expected."""
    new = {key_of(config): config for config in configs if key_of(config) not in answers.found}
    surprises = 0
    for key, answer in zip(new, asker.ask("build", list(new.values())), strict=True):
        # A traceback is no refusal: the combination is run, and fails.
        refused = "" if answer.allowed or not answer.clear else answer.message
        surprises += key in answers.likely and bool(answers.likely[key]["refused"]) != bool(refused)
        answers.add(key, {"refused": refused})
    return surprises
