"""Sinks of events and records, by name."""

__all__ = ["ALWAYS", "SINKS"]

SINKS = {
    "tensorboard": "rlcl.sinks.tensorboard.board:TensorBoard",
    "progress": "rlcl.sinks.progress:Progress",
    "log": "rlcl.sinks.log:Log",
}

# Every run has these, with their defaults unless the experiment lists them itself.
ALWAYS = ("log", "progress")
