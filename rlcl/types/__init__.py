"""The records and protocols that the whole project speaks in.

A **stream** of **experiences** flows through a **learner**, whose learning yields **events**.
Evaluation writes **records**. Every number that is reported is a pure function of the records.
"""

from rlcl.types.learners import (
    BoundaryLearner,
    BoundaryPolicy,
    Costs,
    Generating,
    Learner,
    Online,
    Position,
    Predictor,
    Reopening,
    Setup,
    Spending,
)
from rlcl.types.methods import (
    IMPOSSIBLE,
    Batch,
    ForgettingMethod,
    Host,
    Method,
    MixingMethod,
    NativeHost,
    PenalizingMethod,
    PredictingMethod,
    RawHost,
    ReopeningMethod,
    WeighingHost,
)
from rlcl.types.parts import AdaptingEncoder, Augmentation, Encoder, Network, OptimizerFactory, Schedule
from rlcl.types.records import Boundary, Event, Metric, Probe, Record, Sink
from rlcl.types.streams import UNITS, Budget, DataSet, Experience, Scenario, StreamSpec, Visibility

__all__ = [
    "IMPOSSIBLE",
    "UNITS",
    "AdaptingEncoder",
    "Augmentation",
    "Batch",
    "Boundary",
    "BoundaryLearner",
    "BoundaryPolicy",
    "Budget",
    "Costs",
    "DataSet",
    "Encoder",
    "Event",
    "Experience",
    "ForgettingMethod",
    "Generating",
    "Host",
    "Learner",
    "Method",
    "Metric",
    "MixingMethod",
    "NativeHost",
    "Network",
    "Online",
    "OptimizerFactory",
    "PenalizingMethod",
    "Position",
    "PredictingMethod",
    "Predictor",
    "Probe",
    "RawHost",
    "Record",
    "Reopening",
    "ReopeningMethod",
    "Scenario",
    "Schedule",
    "Setup",
    "Sink",
    "Spending",
    "StreamSpec",
    "Visibility",
    "WeighingHost",
]
