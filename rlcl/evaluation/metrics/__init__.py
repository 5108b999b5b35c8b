"""Metrics of a run, each with its formula, range and source, and whether higher or lower values are better.

A metric is a :class:`Metric` object with a pure function of the results of one run. R[t, j] is the performance on
experience j after training on experience t; higher is better. An entry that was not measured is NaN, and is left out of
means, maxima and minima. A metric that is not defined for a run is None, for example forgetting after one experience,
or transfer without an evaluation before training.

If the stream visits tasks repeatedly, R has a row per visit and a column per task. R[j, j] then means the performance
on task j at the end of its last visit, and "j < T-1" the tasks whose last visit does not end the stream.
"""

from rlcl.evaluation.metrics.metric import (
    PERFORMANCE,
    TOPICS,
    UNKNOWN,
    Better,
    Metric,
    Span,
    Topic,
    Undefined,
    check_span,
    sign_of,
)
from rlcl.evaluation.metrics.performance import AVERAGE, ONLINE

__all__ = [
    "AVERAGE",
    "ONLINE",
    "PERFORMANCE",
    "TOPICS",
    "UNKNOWN",
    "Better",
    "Metric",
    "Span",
    "Topic",
    "Undefined",
    "check_span",
    "sign_of",
]
