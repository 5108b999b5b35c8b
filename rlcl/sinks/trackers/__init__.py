"""Sinks that copy a run to an experiment tracker."""
