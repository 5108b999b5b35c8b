"""Learners of labelled arrays."""
