"""What an experiment's data and environments are, before anything is trained."""
