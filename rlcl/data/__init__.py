"""What is learned from: arrays and environments, and data sets by name."""

DATA = {
    "digits": "rlcl.data.datasets:Digits",
    "mnist": "rlcl.data.datasets:Mnist",
}
