"""Continual-learning methods, which attach to optimizers."""

METHODS = {
    "ewc": "rlcl.methods.ewc:Ewc",
    "si": "rlcl.methods.si:Si",
    "mas": "rlcl.methods.mas:Mas",
    "l2": "rlcl.methods.l2:L2",
    "l2_init": "rlcl.methods.l2_init:L2Init",
    "lwf": "rlcl.methods.lwf:Lwf",
    "distill": "rlcl.methods.distill:Distill",
    "rehearsal": "rlcl.methods.rehearsal:Rehearsal",
    "der": "rlcl.methods.der:Der",
    "der_plus_plus": "rlcl.methods.der:DerPlusPlus",
    "mir": "rlcl.methods.mir:Mir",
}
