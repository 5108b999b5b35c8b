"""Strategies of Avalanche as learners."""
