"""Reproduction of published results: protocols, and the targets that their results are compared with."""
