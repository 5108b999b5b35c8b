"""Learners of arrays without labels."""
