"""Sink for TensorBoard: curves, images, tables and settings of runs."""
