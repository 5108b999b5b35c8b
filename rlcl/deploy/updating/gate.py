"""Conditions of the gate: gain on new data and forgetting on earlier experiences, by paired tests.

Both models are compared on the same held-out samples, and a condition passes if the worse end of a 95 % confidence
interval satisfies it. All conditions must pass, so no correction for multiple tests is necessary (intersection-union
test, Berger 1982).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from attrs import frozen

from rlcl.statistics.intervals import normal_quantile, student_half_width

__all__ = ["GateCondition", "PairedDifference", "Verdict", "overall_verdict", "paired_difference", "score_condition"]

Array = np.ndarray[Any, Any]
Verdict = Literal["passed", "rejected", "undecided", "labels disagree"]
LEVEL = 0.95
Z = normal_quantile(LEVEL)
MAX_NEEDED_SAMPLES = 10_000_000  # larger numbers are not reported
MIN_SAMPLES = 30  # with fewer samples, a mean on the wrong side may be chance


@frozen(kw_only=True)
class PairedDifference:
    """Mean difference of two models' scores on the same samples.

    Args:
        samples: number of samples.
        before, after: mean scores of the deployed model and of the candidate; higher is better.
        low, high: ends of the 95 % confidence interval of ``after - before``.
        deviation: standard deviation of the differences; it determines the number of samples needed for a decision.
    """

    samples: int
    before: float
    after: float
    low: float
    high: float
    deviation: float

    @property
    def difference(self) -> float:
        """Mean score of the candidate minus that of the deployed model."""
        return self.after - self.before


def paired_difference(before: Array, after: Array) -> PairedDifference:
    """Compare two models on the same samples.

    For scores of 0 and 1, the confidence interval is the adjusted Wald interval of a paired difference of proportions,
    which has a width even if the two models never differ. For other scores, it is Student's t interval of the
    differences.

    Args:
        before, after: (N,) scores of the same samples, higher is better; N at least 1.

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
        half = float(student_half_width(deviation / math.sqrt(n), n - 1, LEVEL)) if n > 1 else math.inf
        low, high = centre - half, centre + half
    return PairedDifference(
        samples=n,
        before=float(first.mean()),
        after=float(second.mean()),
        low=low,
        high=high,
        deviation=deviation,
    )


@frozen(kw_only=True)
class GateCondition:
    """Condition of the gate, with its verdict for a candidate.

    Args:
        name: name in reports, for example ``forgetting on digits 0-1``.
        verdict: ``undecided`` if the number of samples is too small for a decision.
        value: measured value.
        limit: required value.
        reason: explanation of the verdict.
        low, high: ends of the 95 % confidence interval of the value; None if it has none.
        samples: number of samples; None if the value does not come from samples.
        needed: number of samples needed for a decision; None if the verdict is decided or the number is unknown.
        before, after: mean scores of the deployed model and of the candidate; None if there are no scores.
        experience: index of the experience of the held-out samples; None if the condition concerns no experience.
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


def score_condition(
    name: str, paired: PairedDifference, minimum: float, experience: int | None = None
) -> GateCondition:
    """Judge whether the difference of the candidate's and the deployed model's scores is at least ``minimum``.

    The condition is passed if the lower end of the confidence interval is at least ``minimum``. It is rejected if the
    mean does not exceed ``minimum``, because more samples are not expected to change this. It is undecided in between,
    and if there are few samples and the interval includes ``minimum``.

    Args:
        name: name of the condition in reports.
        paired: paired difference on held-out samples.
        minimum: minimum difference; negative to allow a decrease.
        experience: index of the experience of the samples.
    """
    needed: int | None = None
    difference = f"{paired.difference:+.4g} ({paired.low:+.4g} to {paired.high:+.4g}) on {paired.samples} samples"
    verdict: Verdict
    if paired.low >= minimum:
        verdict, reason = "passed", f"{difference}: at least {minimum:+g}"
    elif paired.samples < MIN_SAMPLES and paired.difference <= minimum <= paired.high:
        verdict, needed = "undecided", MIN_SAMPLES
        reason = (
            f"{difference}: too few samples to decide whether it is at least {minimum:+g}; {MIN_SAMPLES} are needed"
        )
    elif paired.difference <= minimum and paired.difference < max(minimum, 0):
        verdict, reason = "rejected", f"{difference}: less than {minimum:+g}"
    elif paired.difference <= minimum:
        verdict = "rejected"
        reason = f"{difference}: not above {minimum:+g}; more samples are not expected to change this"
    else:
        verdict = "undecided"
        samples = (Z * paired.deviation / (paired.difference - minimum)) ** 2
        needed = math.ceil(samples) if paired.samples < samples <= MAX_NEEDED_SAMPLES else None
        remedy = "" if needed is None else f"; about {needed:,} would decide"
        reason = f"{difference}: too few samples to decide whether it is at least {minimum:+g}{remedy}"
    return GateCondition(
        name=name,
        verdict=verdict,
        value=paired.difference,
        limit=minimum,
        reason=reason,
        low=paired.low,
        high=paired.high,
        samples=paired.samples,
        needed=needed,
        before=paired.before,
        after=paired.after,
        experience=experience,
    )


def overall_verdict(conditions: Sequence[GateCondition]) -> Verdict:
    """Return the worst verdict of all conditions: labels disagree, rejected, undecided or passed."""
    verdicts = {condition.verdict for condition in conditions}
    worst_first: Sequence[Verdict] = ("labels disagree", "rejected", "undecided")
    return next((verdict for verdict in worst_first if verdict in verdicts), "passed")
