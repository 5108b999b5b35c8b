"""Target of the type ``claims``: statements on the metrics of several learners, written down before the runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import attrs
import numpy as np
from attrs import frozen

from rlcl.config import Fault, Faults, option
from rlcl.config.faults import Key
from rlcl.errors import Problem, did_you_mean
from rlcl.evaluation.outcome import Outcome
from rlcl.evaluation.results import Array
from rlcl.experiment import Experiment
from rlcl.reproduction.types import ResultRow, SideResult
from rlcl.statistics.intervals import standard_error, summarize

__all__ = ["Claim", "Claims"]

PARTS: Mapping[str, Callable[[Array], float]] = {
    "first": lambda values: float(values[0]),
    "later": lambda values: float(values[1:].max()),
    "first_quarter": lambda values: float(values[: -(-len(values) // 4)].mean()),
    "last_quarter": lambda values: float(values[-len(values) // 4 :].mean()),
}
"""Numbers of a series with one value per experience."""
DIAGONAL = "diagonal"  # name of the series R[j, j]


@frozen(kw_only=True)
class Claim:
    """One statement: a metric of a side is at least, or at most, a number or a multiple of another side's metric.

    Args:
        side: name of the side.
        metric: name of a metric in a run's summary; or a part of a series with one value per experience. The series is
            ``diagonal``, R[j, j], or a probe after training on experience j. Its parts are ``first``, ``later``
            (maximum over j > 0), ``first_quarter`` and ``last_quarter`` (means), for example ``diagonal.first``.
        at_least: lower bound; a factor if ``of`` is set.
        at_most: upper bound; a factor if ``of`` is set.
        of: side whose metric is multiplied by the bound; null for none.
        of_metric: metric of that side; by default the same one.
        significant: whether the 95 % interval of the difference must fulfil the statement, and not the mean alone.
    """

    side: str = option()
    metric: str = option()
    at_least: float | None = option(None)
    at_most: float | None = option(None)
    of: str | None = option(None)
    of_metric: str | None = option(None)
    significant: bool = option(False)

    def __attrs_post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise Problem("expected exactly one of at_least and at_most", "at_least")
        if self.of is None and self.of_metric is not None:
            raise Problem("it needs a side; set of", "of_metric")

    @property
    def bound(self) -> float:
        """The lower or upper bound."""
        return float(self.at_most if self.at_least is None else self.at_least)  # type: ignore[arg-type]

    @property
    def text(self) -> str:
        """The statement in one line."""
        relation = "<=" if self.at_least is None else ">="
        if self.of is None:
            right = f"{self.bound:g}"
        else:
            factor = "" if self.bound == 1 else f"{self.bound:g} x "
            right = f"{factor}{self.of}" + (f" {self.of_metric}" if self.of_metric else "")
        return f"{self.metric}: {self.side} {relation} {right}" + (" (interval)" if self.significant else "")


@frozen(kw_only=True)
class Claims:
    """Statements on the metrics of several learners on the same streams.

    A statement holds if the means over seeds fulfil it. All statements must hold. For a statement on two sides, the
    paired difference over seeds is reported with its interval.

    Args:
        claims: the statements.
        source: paper and table, or who made the statements.
    """

    claims: tuple[Claim, ...] = option()
    source: str = option(pattern=(r".*\S.*", "a paper and a table"))

    heading: ClassVar[str] = "Statements"
    rule: ClassVar[tuple[str, ...]] = (
        "All learners of a protocol learn from the same streams, one stream per seed. The statements were written",
        "before the runs. The table contains for each statement the mean over seeds of the metric with its standard",
        "error, the bound, and the mean difference between both, with its 95 % Student interval over seeds. A row is",
        "reproduced if the means, or the intervals where the statement says so, fulfil all statements.",
    )
    brief: ClassVar[tuple[str, ...]] = (
        "protocol",
        "statement",
        "seeds",
        "value",
        "bound",
        "interval",
        "holds",
        "verdict",
    )
    may_differ: ClassVar[tuple[str, ...]] = ("name", "stream", "encoder", "learner", "boundary", "evaluation")

    def __attrs_post_init__(self) -> None:
        if not self.claims:
            raise Problem("expected at least one statement", "claims")

    @property
    def metric(self) -> str:
        return self.claims[0].metric

    @property
    def claim(self) -> str:
        return "; ".join(claim.text for claim in self.claims)

    @staticmethod
    def sides(data: Mapping[str, Any]) -> Mapping[str, tuple[Key, ...]]:
        sides = data.get("sides")
        if not isinstance(sides, Mapping) or not sides:
            raise Faults.one("missing; required: the keys in which each side differs, by name", "sides")
        return {str(name): ("sides", name) for name in sides}

    def check(self, sides: Mapping[str, Experiment]) -> Iterator[Fault]:
        for index, claim in enumerate(self.claims):
            for key, side in (("side", claim.side), ("of", claim.of)):
                if side is not None and side not in sides:
                    path = ("target", "claims", index, key)
                    yield Fault(path, f"no side {side!r}{did_you_mean(side, sides)}")

    def judge(self, sides: Mapping[str, SideResult]) -> ResultRow:
        judged = [self._judged(claim, sides) for claim in self.claims]
        return {
            "target": {"type": "claims", **attrs.asdict(self)},
            "seeds": list(next(iter(sides.values())).experiment.seeds),
            "verdict": "reproduced" if all(each["holds"] for each in judged) else "differs",
            "claims": judged,
            "sides": {name: _side_row(side) for name, side in sides.items()},
        }

    @staticmethod
    def _judged(claim: Claim, sides: Mapping[str, SideResult]) -> dict[str, Any]:
        left = _values(sides[claim.side], claim.metric)
        right = np.full_like(left, claim.bound)
        if claim.of is not None:
            right = claim.bound * _values(sides[claim.of], claim.of_metric or claim.metric)
        difference = summarize((left - right).tolist())
        low, high = (difference.low, difference.high) if claim.significant else (difference.mean, difference.mean)
        holds = low >= 0 if claim.at_most is None else high <= 0
        return {
            "statement": claim.text,
            "value": _mean(left),
            "bound": _mean(right),
            "difference": difference.mean,
            "interval": None if difference.seeds == 1 else [difference.low, difference.high],
            "holds": bool(holds),
        }

    @staticmethod
    def lines(name: str, row: ResultRow) -> list[Mapping[str, str]]:
        return [_line(name if index == 0 else "", each, row) for index, each in enumerate(row["claims"])]


def _values(side: SideResult, metric: str) -> Array:
    """Return the values (S,) of a metric over seeds."""
    series, _, part = metric.rpartition(".")
    if part not in PARTS:
        return np.array(side.values(metric))
    return np.array([PARTS[part](_series(run.outcome, series)) for run in side.runs])


def _series(outcome: Outcome, name: str) -> Array:
    """Return R[j, j], or the values of a probe after training on experience j, for all j.

    Raises:
        Problem: values are missing.
    """
    if name == DIAGONAL:
        values = np.diagonal(outcome.R)
    else:
        found = {r.trained_on: r.value for r in outcome.records if r.metric == name and r.trained_on == r.evaluated_on}
        values = np.array([found.get(j, np.nan) for j in range(len(outcome.R))])
    if np.isnan(values).any() or len(values) < 2:
        raise Problem(f"the runs have no value of {name} after each of two or more experiences", "target.claims")
    return values


def _side_row(side: SideResult) -> dict[str, Any]:
    """Return the entry of a side in the results file."""
    return {
        "name": side.experiment.name,
        "hash": side.experiment.hash,
        "git": side.git,
        "metrics": side.metrics,
        "R": np.round(np.mean([run.outcome.R for run in side.runs], 0), 4).tolist(),
        "seconds": side.seconds,
    }


def _mean(values: Array) -> dict[str, float]:
    error = float(standard_error(values)) if len(values) > 1 else 0.0
    return {"mean": float(values.mean()), "standard_error": error}


def _line(name: str, judged: Mapping[str, Any], row: ResultRow) -> Mapping[str, str]:
    interval = judged["interval"]
    return {
        "protocol": name,
        "statement": judged["statement"],
        "seeds": str(len(row["seeds"])),
        **{key: "{mean:.3f} ± {standard_error:.3f}".format(**judged[key]) for key in ("value", "bound")},
        "difference": f"{judged['difference']:.3f}",
        "interval": "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}",
        "holds": "yes" if judged["holds"] else "no",
        "verdict": row["verdict"] if name else "",
    }
