"""The model card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlcl.deploy.signature import Signature
from rlcl.launch.restored import Restored
from rlcl.tracking.runs import Run

__all__ = ["model_card"]


def model_card(run: Run, restored: Restored, signature: Signature, manifest: Mapping[str, Any]) -> str:
    """Markdown."""
    return f"# {restored.experiment.name}\n"
