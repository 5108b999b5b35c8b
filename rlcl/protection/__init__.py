"""Continual-learning methods on models that are trained without rlcl's trainer: :func:`rlcl.protect`."""
