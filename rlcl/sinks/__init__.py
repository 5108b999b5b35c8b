"""Registry of sinks for events and records, by name."""

__all__ = ["ALWAYS", "SINKS"]

SINKS = {
    "tensorboard": "rlcl.sinks.tensorboard.board:TensorBoard",
    "progress": "rlcl.sinks.progress:Progress",
    "log": "rlcl.sinks.log:Log",
    "csv": "rlcl.sinks.table_files:Csv",
    "parquet": "rlcl.sinks.table_files:Parquet",
    "mlflow": "rlcl.sinks.trackers.mlflow:Mlflow",
    "wandb": "rlcl.sinks.trackers.wandb:Wandb",
    "trackio": "rlcl.sinks.trackers.trackio:Trackio",
}

# Every run has these sinks. If the experiment does not list them, they have their default settings.
ALWAYS = ("log", "progress")
