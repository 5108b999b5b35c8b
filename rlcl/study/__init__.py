"""Suites: variations of an experiment along axes, and their execution as a grid of cells."""
