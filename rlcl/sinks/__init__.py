"""Sinks of events and records: TensorBoard and progress on the terminal."""
