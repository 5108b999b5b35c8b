"""Whether a candidate may take a deployed model's place: gain on what is new, forgetting on what is old.

All of it is decided on the same held-out samples for both, pair by pair, by the worse end of a 95 % interval. Every
condition must hold, so that none needs a correction for the number of them (an intersection-union test: Berger 1982).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from attrs import frozen

from rlcl.statistics.intervals import normal_quantile, student_half

__all__ = ["Condition", "Paired", "Verdict", "judged", "overall", "paired"]

Array = np.ndarray[Any, Any]
Verdict = Literal["passed", "rejected", "undecided", "labels disagree"]
LEVEL = 0.95
Z = normal_quantile(LEVEL)
MOST_ROWS = 10_000_000  # more than that are not worth naming
FEW = 30  # samples, of fewer a mean on the wrong side may be chance


@frozen(kw_only=True)
class Paired:
    """The mean difference of two models' scores on the same samples.

    Args:
        samples: how many.
        before, after: mean scores of the deployed model and of the candidate; higher is better.
        low, high: ends of the 95 % interval of ``after - before``.
        deviation: of the differences, from which the number of samples that would decide follows.
    """

    samples: int
    before: float
    after: float
    low: float
    high: float
    deviation: float

    @property
    def difference(self) -> float:
        return self.after - self.before


def paired(before: Array, after: Array) -> Paired:
    """Compares two models on the same samples.

    Of scores that are 0 or 1 the interval is the adjusted Wald interval of a paired difference of proportions, which
    has width even where the two never differ; of others Student's t over the differences.

    Args:
        before, after: (N,) scores of the same samples, higher being better; N at least 1.

    Source: Bonett & Price 2012, Adjusted Wald confidence interval for a difference of binomial proportions based on
    paired data, eq. 4.
    """
    first, second = (np.asarray(scores, np.float64) for scores in (before, after))
    differences, n = second - first, len(first)
    if set(np.unique(np.concatenate([first, second]))) <= {0.0, 1.0}:
        gained, lost = (float((differences == sign).sum() + 1) / (n + 2) for sign in (1, -1))
        deviation = math.sqrt(gained + lost - (gained - lost) ** 2)
        centre, half = gained - lost, Z * deviation / math.sqrt(n + 2)
        low, high = max(centre - half, -1.0), min(centre + half, 1.0)
    else:
        deviation = float(differences.std(ddof=1)) if n > 1 else math.inf
        centre = float(differences.mean())
        half = float(student_half(deviation / math.sqrt(n), n - 1, LEVEL)) if n > 1 else math.inf
        low, high = centre - half, centre + half
    return Paired(
        samples=n,
        before=float(first.mean()),
        after=float(second.mean()),
        low=low,
        high=high,
        deviation=deviation,
    )


@frozen(kw_only=True)
class Condition:
    """One thing that a candidate must satisfy.

    Args:
        name: for people, for example ``forgetting on digits 0-1``.
        verdict: whether it does; ``undecided`` where the samples are too few to tell.
        value: what was found.
        limit: what is asked for.
        reason: in a sentence.
        low, high: ends of the 95 % interval of the value, None where it has none.
        samples: that it was found on, None where there are none.
        needed: samples that would decide, where too few do not.
        before, after: scores of the deployed model and of the candidate, None where nothing was scored.
        experience: number of that whose held-out samples they are of, None of others.
    """

    name: str
    verdict: Verdict
    value: float
    limit: float
    reason: str
    low: float | None = None
    high: float | None = None
    samples: int | None = None
    needed: int | None = None
    before: float | None = None
    after: float | None = None
    experience: int | None = None


def judged(name: str, found: Paired, least: float, experience: int | None = None) -> Condition:
    """Whether the candidate's scores exceed the deployed model's by ``least`` (below 0: fall by no more than that).

    Passed where the interval's lower end does; rejected where the mean itself does not, which more samples are not
    expected to mend; undecided in between, and where samples are few and the interval reaches beyond ``least``.

    Args:
        name: for people.
        found: on the same held-out samples.
        least: smallest difference allowed.
        experience: the number of that whose samples they are.
    """
    needed: int | None = None
    told = f"{found.difference:+.4g} ({found.low:+.4g} to {found.high:+.4g}) on {found.samples} samples"
    verdict: Verdict
    if found.low >= least:
        verdict, reason = "passed", f"{told}: at least {least:+g}"
    elif found.samples < FEW and found.difference <= least <= found.high:
        verdict, needed = "undecided", FEW
        reason = f"{told}: too few to tell whether it is at least {least:+g}; at least {FEW} are needed"
    elif found.difference <= least and found.difference < max(least, 0):
        verdict, reason = "rejected", f"{told}: less than {least:+g}"
    elif found.difference <= least:
        verdict, reason = "rejected", f"{told}: no more than {least:+g}, which no number of samples would exceed"
    else:
        verdict = "undecided"
        rows = (Z * found.deviation / (found.difference - least)) ** 2
        needed = math.ceil(rows) if found.samples < rows <= MOST_ROWS else None
        would = "" if needed is None else f"; about {needed:,} would"
        reason = f"{told}: too few to tell whether it is at least {least:+g}{would}"
    return Condition(
        name=name,
        verdict=verdict,
        value=found.difference,
        limit=least,
        reason=reason,
        low=found.low,
        high=found.high,
        samples=found.samples,
        needed=needed,
        before=found.before,
        after=found.after,
        experience=experience,
    )


def overall(conditions: Sequence[Condition]) -> Verdict:
    """Rejected where any is, else undecided where any is, else passed; of labels that disagree nothing is judged."""
    found = {condition.verdict for condition in conditions}
    worst: Sequence[Verdict] = ("labels disagree", "rejected", "undecided")
    return next((verdict for verdict in worst if verdict in found), "passed")
