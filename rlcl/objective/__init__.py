"""Stage 0: why an experiment exists, when it has succeeded, what it may cost, and whether it did."""

from rlcl.objective.criterion import Criterion
from rlcl.objective.objective import Constraints, Objective, stated
from rlcl.objective.verdict import Judgement, Result, Verdict, amount, verdict

__all__ = ["Constraints", "Criterion", "Judgement", "Objective", "Result", "Verdict", "amount", "stated", "verdict"]
