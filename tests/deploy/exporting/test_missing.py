"""A model that learned from a table with missing cells: its bundle fills them in as the encoder does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import rlcl.deploy
from rlcl.data.sources import UnlabelledArrays
from rlcl.deploy.bundle import Bundle
from rlcl.deploy.exporting import export as exporting
from rlcl.deploy.exporting.export import export
from rlcl.deploy.exporting.fields import array_field
from rlcl.deploy.exporting.graphs import array_graph
from rlcl.errors import BundleError, Problem, UnsupportedError
from rlcl.launch.restored_run import restore_run
from rlcl.tracking.runs import StoredRun

Made = Callable[[str], Path]
Finished = Callable[[str], StoredRun]
NAN = float("nan")


def source(*rows: list[float]) -> UnlabelledArrays:
    return UnlabelledArrays(torch.tensor(rows))


def test_bounds_are_of_the_values_that_are_there() -> None:
    # From 1 to 4, and as far again on both sides.
    field = array_field([source([NAN, 1.0], [2.0, NAN]), source([NAN, NAN]), source([4.0, 4.0])], missing=True)
    assert (-2.0, 7.0, True) == (field.low, field.high, field.missing)
    nothing = array_field([source([NAN, NAN])], missing=True)
    assert (None, None) == (nothing.low, nothing.high)


def test_the_signature_says_what_may_be_missing(bundle: Made) -> None:
    (field,) = Bundle.open(bundle("people")).signature.inputs
    # Each column lies within its own bounds; the row whose pay is 990 is held out, and counts as well.
    assert ([-97, 0, -990], [197, 2, 1980]) == (list(field.low), list(field.high))
    assert field.missing
    assert [("age", ()), ("city", ("Bern", "Oslo", "Rome")), ("pay", ())] == [
        (column.name, column.categories) for column in field.columns
    ]
    (pixels,) = Bundle.open(bundle("digits")).signature.inputs
    assert (False, ()) == (pixels.missing, pixels.columns)


ROWS: list[list[Any]] = [[30, 1, 500], [None, 1, 500], [30, None, 500], [30, 1, None], [None, None, None]]


def test_whatever_is_missing_is_answered_as_the_learner_does(finished: Finished, bundle: Made) -> None:
    trainer, model = restore_run(finished("people")).trainer, rlcl.deploy.load(bundle("people"))
    x = np.array(ROWS, np.float32)
    assert 7 == np.isnan(x).sum() + 1
    classes, odds = array_graph(trainer.learner, trainer.stream)(torch.from_numpy(x))
    for given in (ROWS, x):
        found = model.outputs(given)
        np.testing.assert_allclose(odds.detach().numpy(), found["probabilities"], rtol=1e-5)
        assert classes.tolist() == trainer.learner.predict(torch.from_numpy(x))[0].tolist() == found["class"].tolist()
    assert len(np.unique(found["probabilities"][:, 0])) == len(ROWS)  # what is missing changes the answer


def test_what_training_knew_nothing_missing_of_is_refused(bundle: Made) -> None:
    x = np.zeros((1, 1, 8, 8))
    x[0, 0, 2, 3] = NAN
    with pytest.raises(Problem, match=r"input\[0\]\[0\]\[2\]\[3\]: expected a finite number, got nan"):
        rlcl.deploy.load(bundle("digits")).predict(x)


def test_held_out_rows_with_and_without_more_holes_are_compared(bundle: Made) -> None:
    manifest = Bundle.open(bundle("people")).manifest
    stored = load_file(bundle("people") / "reference.safetensors")
    assert 2 * len(stored["input"]) == manifest["parity"]["rows"]
    assert np.isnan(stored["input"][:, :2]).any(0).all()
    assert not np.isnan(stored["input"][:, 2]).any()


def test_a_graph_that_fills_in_something_else_is_an_error(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Zeros(torch.nn.Module):
        """Puts 0 into the column that was never missing."""

        def __init__(self, graph: Any) -> None:
            super().__init__()
            self.graph = graph

        def forward(self, x: torch.Tensor) -> Any:
            pay = x[:, 2:]
            return self.graph(torch.cat([x[:, :2], torch.where(pay.isnan(), 0, pay)], 1))

    real = exporting.onnx_graph
    monkeypatch.setattr(exporting, "onnx_graph", lambda graph, *rest: real(Zeros(graph), *rest))
    with pytest.raises(BundleError, match="parity"):
        export(finished("people"), tmp_path / "b")


def test_an_encoder_that_leaves_something_missing_is_refused_by_its_column(finished: Finished, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"its encoder does not impute pay,.*put impute before the encoder"):
        export(finished("people_unfilled"), tmp_path / "b")
    assert [] == list(tmp_path.iterdir())
