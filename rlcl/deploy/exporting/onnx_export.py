"""Conversion of a torch module to an ONNX graph."""

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
    """Trace one call of a module and return the ONNX graph, with a dynamic batch size.

    Tracing is used instead of ``torch.export``: encoders and learners are not modules, some of them compute constants
    in NumPy, and tracing takes a twentieth of the time (docs/decisions/0020-bundles.md).

    Args:
        module: module with tensors (B, ...) as arguments and a tuple of such tensors as result.
        example: inputs of a few rows.
        inputs, outputs: names of the inputs and outputs.

    Raises:
        UnsupportedError: an operation of the module cannot be expressed in ONNX.
    """
    buffer = io.BytesIO()
    module.eval()  # the exporter restores the present mode in all submodules; train mode would enable dropout
    with warnings.catch_warnings(), torch.no_grad(), torch.compiler.set_stance("force_eager"):
        warnings.simplefilter("ignore")  # about constants in the trace; the parity check detects wrong ones
        try:
            module(*example)  # lazy loading and random initialization must not be traced
            torch.onnx.export(
                module,
                tuple(example),
                buffer,  # type: ignore[arg-type]  # the tracing exporter writes to a buffer
                dynamo=False,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_axes={name: {0: "batch"} for name in (*inputs, *outputs)},
            )
        except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0].split("  [")[0]
            raise UnsupportedError(f"the model cannot be converted to ONNX: {reason}") from error
    return buffer.getvalue()
