"""Supervised learners."""
