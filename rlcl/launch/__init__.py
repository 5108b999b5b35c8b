"""Where runs take place, by name."""

__all__ = ["LAUNCHERS"]

LAUNCHERS = {"local": "rlcl.launch.processes:Processes"}
