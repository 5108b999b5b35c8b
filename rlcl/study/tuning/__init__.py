"""Search over hyper-parameters: search space, protocol, samplers and pruners, and its execution."""
