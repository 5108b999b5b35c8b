"""Suites: an experiment along axes, its cells, and their execution."""
