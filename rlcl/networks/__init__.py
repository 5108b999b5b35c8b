"""Networks: torch modules that map inputs (B, *shape) float32 to outputs (B, outputs)."""

NETWORKS = {
    "linear": "rlcl.networks.mlp:Linear",
    "mlp": "rlcl.networks.mlp:Mlp",
    "cnn": "rlcl.networks.cnn:Cnn",
    "nature_cnn": "rlcl.networks.nature_cnn:NatureCnn",
    "resnet18": "rlcl.networks.torchvision:ResNet18",
    "torchvision": "rlcl.networks.torchvision:TorchvisionNetwork",
    "avalanche": "rlcl.networks.avalanche:AvalancheNetwork",
    "multihead": "rlcl.networks.multihead:Multihead",
    "progressive": "rlcl.networks.progressive:Progressive",
}
