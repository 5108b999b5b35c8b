"""Environments as a source: making, masks of actions, state, worker processes."""
