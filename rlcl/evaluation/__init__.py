"""Evaluation: measures of learners, probes of networks, and metrics that are computed from the records."""

# Increased when a measure or metric changes its value for the same run. Runs of different versions are not compared.
METRICS_VERSION = 2

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
    "success": "rlcl.evaluation.measures:SUCCESS",
    "score": "rlcl.evaluation.measures:SCORE",
    "episode_length": "rlcl.evaluation.measures:EPISODE_LENGTH",
}

METRICS = {
    "average": "rlcl.evaluation.metrics.performance:AVERAGE",
    "incremental": "rlcl.evaluation.metrics.performance:INCREMENTAL",
    "learning": "rlcl.evaluation.metrics.performance:LEARNING",
    "min": "rlcl.evaluation.metrics.performance:MIN",
    "worst_case": "rlcl.evaluation.metrics.performance:WORST_CASE",
    "online": "rlcl.evaluation.metrics.performance:ONLINE",
    "backward_transfer": "rlcl.evaluation.metrics.transfer:BACKWARD_TRANSFER",
    "forward_transfer.gem": "rlcl.evaluation.metrics.transfer:FORWARD_TRANSFER_GEM",
    "forward_transfer.cora": "rlcl.evaluation.metrics.cora:FORWARD_TRANSFER_CORA",
    "forgetting.chaudhry": "rlcl.evaluation.metrics.forgetting:FORGETTING_CHAUDHRY",
    "forgetting.cw": "rlcl.evaluation.metrics.cw:FORGETTING_CW",
    "forgetting.cora": "rlcl.evaluation.metrics.cora:FORGETTING_CORA",
    "intransigence": "rlcl.evaluation.metrics.forgetting:INTRANSIGENCE",
    "return.lifetime": "rlcl.evaluation.metrics.lifetime:RETURN_LIFETIME",
    "regret": "rlcl.evaluation.metrics.lifetime:REGRET",
    "backward_transfer.one_step": "rlcl.evaluation.metrics.transfer:BACKWARD_TRANSFER_ONE_STEP",
    "performance.cw": "rlcl.evaluation.metrics.cw:PERFORMANCE_CW",
    "forward_transfer.cw": "rlcl.evaluation.metrics.cw:FORWARD_TRANSFER_CW",
    "forward_transfer.cw_seed": "rlcl.evaluation.metrics.cw:FORWARD_TRANSFER_CW_SEED",
    "performance.coom": "rlcl.evaluation.metrics.coom:PERFORMANCE_COOM",
    "forward_transfer.coom": "rlcl.evaluation.metrics.coom:FORWARD_TRANSFER_COOM",
    "forgetting.coom": "rlcl.evaluation.metrics.coom:FORGETTING_COOM",
    "l2m.performance_maintenance": "rlcl.evaluation.metrics.l2m:PERFORMANCE_MAINTENANCE",
    "l2m.performance_recovery": "rlcl.evaluation.metrics.l2m:PERFORMANCE_RECOVERY",
    "l2m.forward_transfer_ratio": "rlcl.evaluation.metrics.l2m:FORWARD_TRANSFER_RATIO",
    "l2m.forward_transfer_contrast": "rlcl.evaluation.metrics.l2m:FORWARD_TRANSFER_CONTRAST",
    "l2m.backward_transfer_ratio": "rlcl.evaluation.metrics.l2m:BACKWARD_TRANSFER_RATIO",
    "l2m.backward_transfer_contrast": "rlcl.evaluation.metrics.l2m:BACKWARD_TRANSFER_CONTRAST",
    "l2m.relative_performance": "rlcl.evaluation.metrics.l2m:RELATIVE_PERFORMANCE",
    "l2m.sample_efficiency": "rlcl.evaluation.metrics.l2m:SAMPLE_EFFICIENCY",
}

PROBES = {
    "dormant.redo": "rlcl.evaluation.probes:DormantRedo",
    "dead_units": "rlcl.evaluation.probes:DeadUnits",
    "effective_rank": "rlcl.evaluation.probes:EffectiveRank",
    "stable_rank": "rlcl.evaluation.probes:StableRank",
    "weight_magnitude": "rlcl.evaluation.probes:WeightMagnitude",
    "gradient_norm": "rlcl.evaluation.probes:GradientNorm",
}
