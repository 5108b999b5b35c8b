"""From a finished run to a deployed model that keeps learning: bundles, and what is done with them.

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
    """Opens a bundle, checking every file, and loads its model.

    Args:
        bundle: its folder, as ``rlcl export`` wrote it.
        threads: of ONNX Runtime.

    Returns:
        A :class:`rlcl.deploy.model.Model`, or where it acts a :class:`rlcl.deploy.model.Policy`.

    Raises:
        BundleError: it is damaged, or none.
    """
    from rlcl.deploy.bundle import Bundle
    from rlcl.deploy.model import Model, Policy

    opened = Bundle.open(bundle)
    return (Policy if opened.signature.kind == "policy" else Model)(opened, threads)
