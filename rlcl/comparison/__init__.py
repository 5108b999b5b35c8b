"""Comparison: which learners differ, on which streams, and how sure that is; out of run folders alone."""
