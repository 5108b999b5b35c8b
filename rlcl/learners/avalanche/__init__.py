"""Learner for the strategies of Avalanche."""
