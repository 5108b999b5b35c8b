"""From a finished run to a bundle: the one part of deployment that knows torch."""
