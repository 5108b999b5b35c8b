"""The run folder and what writes to it."""
