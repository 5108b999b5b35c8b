"""Hand-written forward and backward passes, a fused Adam, and batched training of several seeds."""
