"""Imports torchvision, also beside a torch that its compiled operators were not built for."""

from __future__ import annotations

from types import ModuleType

__all__ = ["import_torchvision", "torchvision_datasets"]

_fragments: list[object] = []


def import_torchvision() -> ModuleType:
    """The torchvision package.

    Beside a CPU-only torch its compiled operators do not load, and its import fails on
    ``torchvision::nms``, which nothing here calls. Defining the two missing schemas lets it
    import; that is done only where the compiled ones are absent.
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
        _fragments.append(fragment)  # the definitions live as long as the object does
        import torchvision
    module: ModuleType = torchvision
    return module


def torchvision_datasets() -> ModuleType:
    """``torchvision.datasets``."""
    import_torchvision()
    from torchvision import datasets

    module: ModuleType = datasets
    return module
