"""Feature encoding: from raw observations to what the network sees."""

ENCODERS = {
    "identity": "rlcl.encoders.identity:Identity",
    "flatten": "rlcl.encoders.flatten:Flatten",
    "scale": "rlcl.encoders.scale:Scale",
    "standardize": "rlcl.encoders.standardize:Standardize",
    "one_hot": "rlcl.encoders.one_hot:OneHot",
    "pca": "rlcl.encoders.pca:Pca",
    "random_fourier": "rlcl.encoders.random_fourier:RandomFourier",
    "compose": "rlcl.encoders.compose:Compose",
}
