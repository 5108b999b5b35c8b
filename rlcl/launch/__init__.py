"""Execution of runs, and the registered launchers."""

__all__ = ["LAUNCHERS"]

LAUNCHERS = {"local": "rlcl.launch.processes:Processes"}
