"""Results of Avalanche: ``eval_results.csv`` and ``training_results.csv`` of its CSVLogger."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from rlcl.errors import DataError
from rlcl.launch.importing.results import Evaluation, ForeignResults, only_file
from rlcl.types import Event

__all__ = ["read_avalanche"]

EVALUATIONS, TRAINING = "eval_results.csv", "training_results.csv"


def read_avalanche(folder: Path) -> ForeignResults | None:
    """Read the results in a folder; return None if there are none. Steps are epochs, counted over the stream.

    Raises:
        DataError: a file is damaged, or it contains no accuracies.
    """
    path = only_file(folder, EVALUATIONS)
    if path is None:
        return None
    training = _rows(path.with_name(TRAINING), ("training_exp", "training_loss"))
    epochs = Counter(int(row["training_exp"]) for row in training)
    ends = {exp: sum(n for other, n in epochs.items() if other <= exp) for exp in epochs}
    evaluations = [
        Evaluation(ends.get(exp, 0), exp, int(row["eval_exp"]), "accuracy", float(row["eval_accuracy"]))
        for row in _rows(path, ("eval_exp", "training_exp", "eval_accuracy"))
        for exp in (-1 if row["training_exp"] == "None" else int(row["training_exp"]),)
    ]
    if not any(evaluation.value for evaluation in evaluations):
        raise DataError(
            f"{path} contains no accuracy: CSVLogger writes 0 if the EvaluationPlugin has no "
            "accuracy_metrics(experience=True)"
        )
    names = {"training_loss": "loss", "training_accuracy": "training_accuracy"}
    events = [
        Event(step, {new: float(row[old]) for old, new in names.items() if row.get(old)})
        for step, row in enumerate(training, 1)
    ]
    return ForeignResults("avalanche-lib", evaluations, events)


def _rows(path: Path, numbers: tuple[str, ...]) -> list[Mapping[str, str]]:
    """Return the rows of a file; the named columns contain numbers (``training_exp`` may be None)."""
    number = 1
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list[Mapping[str, str]]()
            for number, row in enumerate(csv.DictReader(file), 2):  # noqa: B007
                for name in numbers:
                    if not (name == "training_exp" and row[name] == "None"):
                        float(row[name])
                rows.append(row)
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}:{number} is damaged ({type(error).__name__}: {error}); expected the columns "
            f"{', '.join(numbers)}, which CSVLogger writes"
        ) from error
    return rows
