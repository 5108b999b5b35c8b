"""Runs that continue finished ones: with more budget for the last experience, or with more experiences."""
