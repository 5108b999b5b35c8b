"""Confidence intervals, aggregates and hypothesis tests as pure functions of arrays."""
