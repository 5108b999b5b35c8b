"""The one loop, and its checkpoints."""
