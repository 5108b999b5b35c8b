"""Profile of an experiment's data and environments before any training."""
