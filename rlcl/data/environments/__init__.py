"""Environment sources: creation, API checks, action masks, state, worker processes."""
