"""A bundle behind HTTP: requests joined into batches, answers and feedback logged, bundles exchanged in between."""
