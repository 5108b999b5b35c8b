"""Intervals, aggregates and hypothesis tests: pure functions of arrays."""
