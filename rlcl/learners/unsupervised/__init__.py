"""Unsupervised and self-supervised learners."""
