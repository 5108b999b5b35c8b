"""Feature encoding: from raw observations to what the network sees."""

ENCODERS = {
    "identity": "rlcl.encoders.identity:Identity",
    "flatten": "rlcl.encoders.flatten:Flatten",
    "scale": "rlcl.encoders.scale:Scale",
    "standardize": "rlcl.encoders.standardize:Standardize",
    "compose": "rlcl.encoders.compose:Compose",
}
