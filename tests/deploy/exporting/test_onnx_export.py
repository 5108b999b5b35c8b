"""From modules to ONNX graphs."""

from __future__ import annotations

import torch
from torch import nn

from rlcl.deploy.exporting.onnx_export import onnx_graph


def test_no_dropout_is_on_after_a_module_was_written_down() -> None:
    module = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5))
    module[1].eval()  # as the parts of a graph are, whose own mode nobody has set
    assert onnx_graph(module, (torch.ones(3, 2),), ["input"], ["output"])
    assert torch.equal(module(torch.ones(1, 2)), module(torch.ones(1, 2)))
