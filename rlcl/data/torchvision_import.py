"""Import of torchvision, with a workaround for a torch build that its compiled operators do not support."""

from __future__ import annotations

from types import ModuleType

__all__ = ["import_torchvision", "torchvision_datasets"]

_fragments: list[object] = []


def import_torchvision() -> ModuleType:
    """Import the torchvision package.

    With a CPU-only torch its compiled operators do not load, and the import fails at ``torchvision::nms``, which rlcl
    never calls. The import succeeds once the two missing schemas are defined. They are defined only if the compiled
    operators are missing.
    """
    import torch

    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        fragment = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            fragment.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        _fragments.append(fragment)  # the definitions are removed with the object
        import torchvision
    module: ModuleType = torchvision
    return module


def torchvision_datasets() -> ModuleType:
    """Import ``torchvision.datasets``."""
    import_torchvision()
    from torchvision import datasets

    module: ModuleType = datasets
    return module
