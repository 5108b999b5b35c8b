"""The page: one self-contained HTML file of a run, an experiment with its seeds, or a suite."""
