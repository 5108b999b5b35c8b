"""Results over the seeds of an experiment, which change when a run is removed, merged or carried back."""

from __future__ import annotations

from pathlib import Path

from rlcl.experiment import load_experiment
from rlcl.launch.verdicts import write_verdict
from rlcl.sinks.run_sinks import run_sinks

__all__ = ["update_seed_group"]


def update_seed_group(folder: Path) -> None:
    """Update the verdict over the seeds of an experiment and its sinks.

    Args:
        folder: the folder of the experiment, with ``seed0``, ``seed1``, ...; without seeds, nothing is done.

    Raises:
        ConfigError: the config of the first seed cannot be read.
    """
    configs = sorted(folder.glob("seed*/config.yaml"))
    if configs:
        experiment = load_experiment(configs[0])
        write_verdict(folder, experiment)
        run_sinks(experiment.sinks).seeds_changed(folder)
