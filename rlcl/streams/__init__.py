"""Scenarios, which make streams of experiences from data sets and environments."""

STREAMS = {
    "single": "rlcl.streams.single:Single",
    "class_incremental": "rlcl.streams.class_incremental:ClassIncremental",
    "task_incremental": "rlcl.streams.task_incremental:TaskIncremental",
    "domain_incremental": "rlcl.streams.domain_incremental:DomainIncremental",
    "data_incremental": "rlcl.streams.data_incremental:DataIncremental",
    "permuted": "rlcl.streams.permuted:Permuted",
    "rotated": "rlcl.streams.rotated:Rotated",
    "avalanche": "rlcl.streams.avalanche:AvalancheStream",
    "slowly_changing_regression": "rlcl.streams.slowly_changing_regression:SlowlyChangingRegression",
    "drifting": "rlcl.streams.drifting:DriftingData",
    "environments": "rlcl.streams.environments:Environments",
    "single_task": "rlcl.streams.single_task:SingleTask",
    "joint": "rlcl.streams.joint:Joint",
    "cumulative": "rlcl.streams.cumulative:Cumulative",
    "online": "rlcl.streams.online:Online",
    "blurry": "rlcl.streams.blurry:Blurry",
    "cyclic": "rlcl.streams.cyclic:Cyclic",
}
