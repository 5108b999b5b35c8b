"""Learners behind one protocol: supervised, unsupervised and reinforcement."""

LEARNERS = {
    "classifier": "rlcl.learners.classifier:Classifier",
    "autoencoder": "rlcl.learners.autoencoder:Autoencoder",
    "sb3": "rlcl.learners.sb3:StableBaselines3",
}

OPTIMIZERS = {
    "sgd": "rlcl.learners.optimizers:Sgd",
    "adam": "rlcl.learners.optimizers:Adam",
    "adamw": "rlcl.learners.optimizers:AdamW",
    "rmsprop": "rlcl.learners.optimizers:RmsProp",
}
