"""An end-to-end matrix: pairs of components and options, each run through the command line."""
