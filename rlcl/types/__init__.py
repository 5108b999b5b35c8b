"""The records and protocols that the whole project speaks in.

A **stream** of **experiences** flows through a **learner**, whose learning yields **events**.
Evaluation writes **records**. Every number that is reported is a pure function of the records.
"""

from rlcl.types.launchers import Capacity, Ended, Job, Launcher, Started
from rlcl.types.learners import (
    BoundaryLearner,
    BoundaryPolicy,
    Costs,
    Generating,
    Learner,
    Online,
    Position,
    Predictor,
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
    WeighingHost,
)
from rlcl.types.parts import AdaptingEncoder, Augmentation, Encoder, Network, OptimizerFactory, Schedule
from rlcl.types.records import Boundary, Event, Metric, Probe, Record
from rlcl.types.sinks import RunStart, Sink
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
    "Capacity",
    "Costs",
    "DataSet",
    "Encoder",
    "Ended",
    "Event",
    "Experience",
    "ForgettingMethod",
    "Generating",
    "Host",
    "Job",
    "Launcher",
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
    "RunStart",
    "Scenario",
    "Schedule",
    "Setup",
    "Sink",
    "Spending",
    "Started",
    "StreamSpec",
    "Visibility",
    "WeighingHost",
]
