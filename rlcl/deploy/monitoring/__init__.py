"""Drift detection for deployed models: inputs, predictions and losses. See docs/reference/drift.md."""
