"""Execution of runs, and the registered launchers."""

__all__ = ["LAUNCHERS"]

LAUNCHERS = {
    "local": "rlcl.launch.launchers.processes:Processes",
    "ray": "rlcl.launch.launchers.ray_cluster:RayCluster",
    "slurm": "rlcl.launch.launchers.slurm:Slurm",
}
