"""Report of a run, an experiment or a suite as one self-contained HTML page."""
