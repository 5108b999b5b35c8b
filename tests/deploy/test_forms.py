"""Files of a bundle and of its deployment that are of another form: one error each."""

from __future__ import annotations

from pathlib import Path

import pytest
from bundle_by_hand import make_bundle

from rlcl.deploy.bundle import Bundle, seal
from rlcl.deploy.deployment import Deployment
from rlcl.deploy.signature import Signature
from rlcl.errors import BundleError

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("text", [DEEP, "[]", "5", '{"current": 1, "before": {}}', '{"current": ".", "before": 5}'])
def test_an_alias_of_another_form_is_one_error(tmp_path: Path, text: str) -> None:
    deployment = Deployment(make_bundle(tmp_path / "bundle").path)
    deployment.folder.mkdir(exist_ok=True)
    deployment.alias.write_text(text)
    with pytest.raises(BundleError, match=r"alias\.json is damaged"):
        deployment.current()


@pytest.mark.parametrize(
    "text", [DEEP, "[]", '"x"', '{"kind": "policy"}', '{"kind": "policy", "inputs": 5, "outputs": [], "state": []}',
             '{"kind": "classifier", "inputs": [], "outputs": [], "state": [], "classes": "ab", "tasks": 0}',
             '{"kind": "classifier", "inputs": [], "outputs": [], "state": [], "classes": [], "tasks": 1e999}']
)  # fmt: skip
def test_a_signature_of_another_form_is_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "signature.json").write_text(text)
    with pytest.raises(BundleError, match="is no signature"):
        Signature.read(tmp_path / "signature.json")


def test_a_manifest_of_another_form_is_one_error(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    for text in (DEEP, "[]"):
        (bundle.path / "manifest.json").write_text(text)
        seal(bundle.path)
        with pytest.raises(BundleError, match=r"manifest\.json cannot be read"):
            Bundle.open(bundle.path)
