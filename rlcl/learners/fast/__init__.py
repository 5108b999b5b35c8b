"""Hand-written forward and backward passes, a fused Adam, and several seeds trained as one computation."""
