"""Registry of supervised, unsupervised and reinforcement learners, with optimizers and learning-rate schedules."""

LEARNERS = {
    "classifier": "rlcl.learners.supervised.classifier:Classifier",
    "regressor": "rlcl.learners.supervised.regressor:Regressor",
    "nearest_mean": "rlcl.learners.supervised.nearest_mean:NearestMean",
    "icarl": "rlcl.learners.supervised.icarl:ICarl",
    "gdumb": "rlcl.learners.supervised.gdumb:GDumb",
    "streaming_lda": "rlcl.learners.supervised.streaming_lda:StreamingLda",
    "autoencoder": "rlcl.learners.unsupervised.autoencoder:Autoencoder",
    "vae": "rlcl.learners.unsupervised.vae:Vae",
    "barlow_twins": "rlcl.learners.unsupervised.barlow_twins:BarlowTwins",
    "simsiam": "rlcl.learners.unsupervised.simsiam:SimSiam",
    "kmeans": "rlcl.learners.unsupervised.kmeans:KMeans",
    "ppo": "rlcl.learners.reinforcement.ppo:Ppo",
    "dqn": "rlcl.learners.reinforcement.dqn:Dqn",
    "sac": "rlcl.learners.reinforcement.sac:Sac",
    "td3": "rlcl.learners.reinforcement.td3:Td3",
    "sb3": "rlcl.learners.sb3.learner:StableBaselines3",
    "avalanche": "rlcl.learners.avalanche.learner:Avalanche",
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
