"""Published protocols, run and judged against their targets."""
