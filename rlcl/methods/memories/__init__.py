"""Memories of examples, and what decides which examples they keep."""
