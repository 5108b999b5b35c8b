"""Exporting where its packages are not installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from rlcl.commands import main


def test_the_extra_is_named_where_its_packages_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr("rlcl.commands.export.find_spec", lambda name: None if name.startswith("onnx") else real(name))
    with pytest.raises(SystemExit) as ended:
        main(["export", "digits", "--root", str(tmp_path)])
    assert 2 == ended.value.code
    assert "exporting needs onnx, onnxruntime, onnxscript; install it with pip install 'rlcl[deploy]'" in (
        capsys.readouterr().err
    )
