"""Evaluation: measures of learners, probes of networks, and metrics that are computed from the records."""

# Increased when a measure or metric changes its value for the same run. Runs of different versions are not compared.
METRICS_VERSION = 1

MEASURES = {
    "accuracy": "rlcl.evaluation.measures:ACCURACY",
    "reconstruction_error": "rlcl.evaluation.measures:RECONSTRUCTION_ERROR",
    "linear_probe": "rlcl.evaluation.measures:LINEAR_PROBE",
    "squared_error": "rlcl.evaluation.measures:SQUARED_ERROR",
    "negative_bound": "rlcl.evaluation.measures:NEGATIVE_BOUND",
    "nearest_neighbours": "rlcl.evaluation.measures:NEAREST_NEIGHBOURS",
    "adjusted_rand": "rlcl.evaluation.measures:ADJUSTED_RAND",
    "mutual_information": "rlcl.evaluation.measures:MUTUAL_INFORMATION",
    "inertia": "rlcl.evaluation.measures:INERTIA",
    "return": "rlcl.evaluation.measures:RETURN",
}

METRICS = {
    "average": "rlcl.evaluation.metrics:AVERAGE",
    "incremental": "rlcl.evaluation.metrics:INCREMENTAL",
    "learning": "rlcl.evaluation.metrics:LEARNING",
    "min": "rlcl.evaluation.metrics:MIN",
    "worst_case": "rlcl.evaluation.metrics:WORST_CASE",
    "online": "rlcl.evaluation.metrics:ONLINE",
    "backward_transfer": "rlcl.evaluation.metrics:BACKWARD_TRANSFER",
    "forward_transfer.gem": "rlcl.evaluation.metrics:FORWARD_TRANSFER_GEM",
    "forward_transfer.cora": "rlcl.evaluation.metrics:FORWARD_TRANSFER_CORA",
    "forgetting.chaudhry": "rlcl.evaluation.metrics:FORGETTING_CHAUDHRY",
    "forgetting.cw": "rlcl.evaluation.metrics:FORGETTING_CW",
    "forgetting.cora": "rlcl.evaluation.metrics:FORGETTING_CORA",
}

PROBES = {
    "dormant.redo": "rlcl.evaluation.probes:DormantRedo",
    "dead_units": "rlcl.evaluation.probes:DeadUnits",
    "effective_rank": "rlcl.evaluation.probes:EffectiveRank",
    "stable_rank": "rlcl.evaluation.probes:StableRank",
    "weight_magnitude": "rlcl.evaluation.probes:WeightMagnitude",
    "gradient_norm": "rlcl.evaluation.probes:GradientNorm",
}
