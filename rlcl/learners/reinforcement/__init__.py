"""Learners of environments, and their parts: actions, returns, losses, replay buffers."""
