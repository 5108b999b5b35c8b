"""Continual-learning methods, which attach to optimizers."""

METHODS = {
    "ewc": "rlcl.methods.ewc:Ewc",
    "si": "rlcl.methods.si:Si",
    "rwalk": "rlcl.methods.rwalk:RWalk",
    "mas": "rlcl.methods.mas:Mas",
    "l2": "rlcl.methods.l2:L2",
    "l2_init": "rlcl.methods.l2_init:L2Init",
    "shrink_and_perturb": "rlcl.methods.shrink_and_perturb:ShrinkAndPerturb",
    "continual_backprop": "rlcl.methods.continual_backprop:ContinualBackprop",
    "redo": "rlcl.methods.redo:Redo",
    "reset": "rlcl.methods.reset:Reset",
    "lwf": "rlcl.methods.lwf:Lwf",
    "distill": "rlcl.methods.distill:Distill",
    "rehearsal": "rlcl.methods.rehearsal:Rehearsal",
    "a_gem": "rlcl.methods.a_gem:AGem",
    "gem": "rlcl.methods.gem:Gem",
    "der": "rlcl.methods.der:Der",
    "der_plus_plus": "rlcl.methods.der:DerPlusPlus",
    "mir": "rlcl.methods.mir:Mir",
    "generative_replay": "rlcl.methods.generative_replay:GenerativeReplay",
}
