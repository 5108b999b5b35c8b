"""Registry of sinks for events and records, by name."""

__all__ = ["ALWAYS", "SINKS"]

SINKS = {
    "tensorboard": "rlcl.sinks.tensorboard.board:TensorBoard",
    "progress": "rlcl.sinks.progress:Progress",
    "log": "rlcl.sinks.log:Log",
}

# Every run has these sinks. If the experiment does not list them, they have their default settings.
ALWAYS = ("log", "progress")
