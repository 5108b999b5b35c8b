"""Learners behind one protocol: supervised, unsupervised and reinforcement."""

LEARNERS = {
    "classifier": "rlcl.learners.classifier:Classifier",
    "regressor": "rlcl.learners.regressor:Regressor",
    "nearest_mean": "rlcl.learners.nearest_mean:NearestMean",
    "icarl": "rlcl.learners.icarl:ICarl",
    "gdumb": "rlcl.learners.gdumb:GDumb",
    "streaming_lda": "rlcl.learners.streaming_lda:StreamingLda",
    "autoencoder": "rlcl.learners.autoencoder:Autoencoder",
    "vae": "rlcl.learners.vae:Vae",
    "barlow_twins": "rlcl.learners.barlow_twins:BarlowTwins",
    "simsiam": "rlcl.learners.simsiam:SimSiam",
    "kmeans": "rlcl.learners.kmeans:KMeans",
    "ppo": "rlcl.learners.ppo:Ppo",
    "dqn": "rlcl.learners.dqn:Dqn",
    "sac": "rlcl.learners.sac:Sac",
    "td3": "rlcl.learners.td3:Td3",
    "sb3": "rlcl.learners.sb3:StableBaselines3",
    "avalanche": "rlcl.learners.avalanche:Avalanche",
}

OPTIMIZERS = {
    "sgd": "rlcl.learners.optimizers:Sgd",
    "adam": "rlcl.learners.optimizers:Adam",
    "adamw": "rlcl.learners.optimizers:AdamW",
    "rmsprop": "rlcl.learners.optimizers:RmsProp",
}

SCHEDULES = {
    "constant": "rlcl.learners.schedules:Constant",
    "linear": "rlcl.learners.schedules:Linear",
    "cosine": "rlcl.learners.schedules:Cosine",
    "exponential": "rlcl.learners.schedules:Exponential",
    "steps": "rlcl.learners.schedules:Steps",
}
