"""Inputs drawn at random, as users may give them."""
