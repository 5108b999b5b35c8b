"""Continuation of finished runs with a larger budget for the last experience, or with more experiences."""
