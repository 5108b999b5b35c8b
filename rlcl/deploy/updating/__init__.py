"""Updates of a deployed model: training of a candidate on new data, and its comparison with the deployed model."""
