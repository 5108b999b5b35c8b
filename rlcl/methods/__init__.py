"""Continual-learning methods, which attach to optimizers."""

METHODS = {
    "ewc": "rlcl.methods.ewc:Ewc",
    "si": "rlcl.methods.si:Si",
    "l2_init": "rlcl.methods.l2_init:L2Init",
    "lwf": "rlcl.methods.lwf:Lwf",
    "distill": "rlcl.methods.distill:Distill",
    "rehearsal": "rlcl.methods.rehearsal:Rehearsal",
}
