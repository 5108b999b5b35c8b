"""From a torch module to an ONNX graph."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rlcl.errors import UnsupportedError

__all__ = ["onnx_graph"]

OPSET = 18


def onnx_graph(module: nn.Module, example: Sequence[Tensor], inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """Runs a module once and writes down what it did; the batch stays of any size.

    Tracing, and not ``torch.export``: encoders and learners are no modules, some compute constants in NumPy, and it
    takes a twentieth of the time (docs/decisions/0020-bundles.md).

    Args:
        module: takes and gives tuples of tensors (B, ...).
        example: inputs of a few rows.
        inputs, outputs: their names.

    Raises:
        UnsupportedError: it does something that ONNX cannot express.
    """
    buffer = io.BytesIO()
    module.eval()  # the exporter puts back the mode that it finds, into all parts: dropout would be on afterwards
    with warnings.catch_warnings(), torch.no_grad(), torch.compiler.set_stance("force_eager"):
        warnings.simplefilter("ignore")  # of constants, which they are; the parity check finds those that are none
        try:
            module(*example)  # what is loaded or drawn when it is first asked for is no part of the graph
            torch.onnx.export(
                module,
                tuple(example),
                buffer,  # type: ignore[arg-type]  # which the tracing exporter writes to
                dynamo=False,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_axes={name: {0: "batch"} for name in (*inputs, *outputs)},
            )
        except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0].split("  [")[0]
            raise UnsupportedError(f"it cannot be written as an ONNX graph: {reason}") from error
    return buffer.getvalue()
