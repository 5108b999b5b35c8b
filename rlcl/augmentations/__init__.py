"""Random changes of training images that leave their meaning alone; on tensors, and seeded."""

AUGMENTATIONS = {
    "crop": "rlcl.augmentations.images:Crop",
    "flip": "rlcl.augmentations.images:Flip",
    "noise": "rlcl.augmentations.images:Noise",
    "erase": "rlcl.augmentations.images:Erase",
}
