"""Checks of environments, one module per subject; each yields findings."""
