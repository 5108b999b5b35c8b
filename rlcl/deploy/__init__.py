"""Deployment: bundles of trained models, prediction, serving, monitoring and updates.

model = rlcl.deploy.load("bundles/digits")
classes = model.predict(images)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlcl.deploy.model import Model

__all__ = ["load"]


def load(bundle: str | Path, threads: int = 1) -> Model:
    """Open a bundle, verify every file, and load its model.

    Args:
        bundle: folder of the bundle, written by ``rlcl export``.
        threads: number of threads of ONNX Runtime.

    Returns:
        A :class:`rlcl.deploy.model.Model`; a :class:`rlcl.deploy.model.PolicyModel` if the bundle holds a policy.

    Raises:
        BundleError: the folder is damaged or is no bundle.
    """
    from rlcl.deploy.bundle import Bundle
    from rlcl.deploy.model import Model, PolicyModel

    opened = Bundle.open(bundle)
    return (PolicyModel if opened.signature.kind == "policy" else Model)(opened, threads)
