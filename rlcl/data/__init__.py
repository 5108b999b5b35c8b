"""What is learned from: arrays and environments, and data sets by name."""

DATA = {
    "digits": "rlcl.data.scikit:Digits",
    "iris": "rlcl.data.scikit:Iris",
    "wine": "rlcl.data.scikit:Wine",
    "breast_cancer": "rlcl.data.scikit:BreastCancer",
    "diabetes": "rlcl.data.scikit:Diabetes",
    "mnist": "rlcl.data.torchvision:Mnist",
    "fashion_mnist": "rlcl.data.torchvision:FashionMnist",
    "kmnist": "rlcl.data.torchvision:Kmnist",
    "emnist": "rlcl.data.torchvision:Emnist",
    "svhn": "rlcl.data.torchvision:Svhn",
    "cifar10": "rlcl.data.torchvision:Cifar10",
    "cifar100": "rlcl.data.torchvision:Cifar100",
    "avalanche": "rlcl.data.avalanche:AvalancheData",
    "csv": "rlcl.data.files:Csv",
    "table": "rlcl.data.table:Table",
    "npz": "rlcl.data.files:Npz",
    "npy": "rlcl.data.files:Npy",
    "image_folder": "rlcl.data.images:ImageFolder",
}
