"""Objective of an experiment: its purpose, conditions of success and cost limits, and the verdict on them."""

from rlcl.objective.criterion import Criterion
from rlcl.objective.objective import Constraints, Objective, objective_of
from rlcl.objective.verdict import ConditionVerdict, SeedResult, Verdict, format_amount, judge_objective

__all__ = [
    "ConditionVerdict",
    "Constraints",
    "Criterion",
    "Objective",
    "SeedResult",
    "Verdict",
    "format_amount",
    "judge_objective",
    "objective_of",
]
