"""Memories of examples with different selection strategies."""
