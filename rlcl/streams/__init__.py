"""Scenarios: how a stream of experiences is made out of sources."""

STREAMS = {
    "single": "rlcl.streams.single:Single",
    "class_incremental": "rlcl.streams.class_incremental:ClassIncremental",
    "task_incremental": "rlcl.streams.task_incremental:TaskIncremental",
    "permuted": "rlcl.streams.permuted:Permuted",
    "environments": "rlcl.streams.environments:Environments",
    "joint": "rlcl.streams.joint:Joint",
}
