"""Data sources: arrays, environments, and data sets by name."""

DATA = {
    "digits": "rlcl.data.readers.scikit:Digits",
    "iris": "rlcl.data.readers.scikit:Iris",
    "wine": "rlcl.data.readers.scikit:Wine",
    "breast_cancer": "rlcl.data.readers.scikit:BreastCancer",
    "diabetes": "rlcl.data.readers.scikit:Diabetes",
    "mnist": "rlcl.data.readers.torchvision:Mnist",
    "fashion_mnist": "rlcl.data.readers.torchvision:FashionMnist",
    "kmnist": "rlcl.data.readers.torchvision:Kmnist",
    "emnist": "rlcl.data.readers.torchvision:Emnist",
    "svhn": "rlcl.data.readers.torchvision:Svhn",
    "cifar10": "rlcl.data.readers.torchvision:Cifar10",
    "cifar100": "rlcl.data.readers.torchvision:Cifar100",
    "avalanche": "rlcl.data.readers.avalanche:AvalancheData",
    "csv": "rlcl.data.readers.files:Csv",
    "table": "rlcl.data.readers.table:Table",
    "npz": "rlcl.data.readers.files:Npz",
    "npy": "rlcl.data.readers.files:Npy",
    "image_folder": "rlcl.data.readers.images:ImageFolder",
}

AUGMENTATIONS = {
    "crop": "rlcl.data.augmentations:Crop",
    "flip": "rlcl.data.augmentations:Flip",
    "noise": "rlcl.data.augmentations:Noise",
    "erase": "rlcl.data.augmentations:Erase",
}

DRIFTS = {
    "constant": "rlcl.data.drift:Constant",
    "piecewise": "rlcl.data.drift:Piecewise",
    "linear": "rlcl.data.drift:LinearDrift",
    "sinusoid": "rlcl.data.drift:Sinusoid",
    "random_walk": "rlcl.data.drift:RandomWalk",
    "cyclic": "rlcl.data.drift:CyclicDrift",
}
