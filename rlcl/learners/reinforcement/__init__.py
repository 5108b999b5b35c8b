"""Reinforcement learners and their parts: action distributions, rollouts, losses, replay buffers."""
