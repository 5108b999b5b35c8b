"""The flip: who may answer from now on, and what is written of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from serving.server_harness import classifier

from rlcl.commands import main
from rlcl.deploy.bundle import Bundle
from rlcl.deploy.deployment import Deployment
from rlcl.deploy.promotion import promote, rollback
from rlcl.errors import BundleError


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    made = Deployment(classifier(tmp_path / "digits"))
    for name, passed in (("0001", True), ("0002", False), ("0003", True)):
        classifier(made.candidates / name, weight=1 + float(name))
        judge(made, name, passed)
    return made


def judge(deployment: Deployment, name: str, passed: bool = True) -> None:
    """Writes the verdict of a candidate, beside what answers now."""
    digest, parent = deployment.digest(name), deployment.digest(deployment.alias_names()[0])
    deployment.verdict_file(name).write_text(json.dumps({"passed": passed, "digest": digest, "parent": parent}))


def audit(deployment: Deployment) -> list[dict[str, object]]:
    return [json.loads(line) for line in (deployment.folder / "audit.jsonl").read_text().splitlines()]


def test_forward_and_back(deployment: Deployment) -> None:
    digests = {name: Bundle.open(deployment.bundle_folder(name)).digest for name in (".", "0001", "0003")}
    promote(deployment, "0001")
    with pytest.raises(BundleError, match="0003 was compared with another bundle than the deployed one"):
        promote(deployment)
    judge(deployment, "0003")
    promote(deployment)
    assert ["0003", "0001", "."] == deployment.alias_names()
    rollback(deployment)
    rollback(deployment)
    assert ["."] == deployment.alias_names()
    with pytest.raises(BundleError, match="digits is the first deployed bundle; there is no previous one"):
        rollback(deployment)
    assert [
        ("promote", digests["."], digests["0001"]),
        ("promote", digests["0001"], digests["0003"]),
        ("rollback", digests["0003"], digests["0001"]),
        ("rollback", digests["0001"], digests["."]),
    ] == [(line["what"], line["from"], line["to"]) for line in audit(deployment)]


def test_what_answers_already_and_what_is_not_there_is_refused(deployment: Deployment) -> None:
    promote(deployment, "0001")
    with pytest.raises(BundleError, match="0001 is already deployed"):
        promote(deployment, "0001")
    for name in ("0009", "../digits", "."):
        with pytest.raises(BundleError, match=r"has no candidate .*; available: 0001, 0002, 0003"):
            promote(deployment, name)
    assert ["0001", "."] == deployment.alias_names()


def test_only_what_passed_its_gate_is_promoted(deployment: Deployment) -> None:
    with pytest.raises(BundleError, match=r"candidate 0002 did not pass its gate, see .*; use --force"):
        promote(deployment, "0002")
    for text, message in (('{"passed": 1}', "did not pass"), ("[]", "did not pass"), ("{", "cannot be read")):
        deployment.verdict_file("0001").write_text(text)
        with pytest.raises(BundleError, match=message):
            promote(deployment, "0001")
    deployment.verdict_file("0001").unlink()
    with pytest.raises(BundleError, match="candidate 0001 has no gate verdict"):
        promote(deployment, "0001")
    assert ["."] == deployment.alias_names()
    promote(deployment, "0001", force=True)
    (line,) = audit(deployment)
    assert line["forced"] is True


def test_a_changed_signature_is_refused_and_shown(deployment: Deployment) -> None:
    classifier(deployment.candidates / "0004", classes=("zero", "one", "two"))
    judge(deployment, "0004")
    with pytest.raises(
        BundleError, match=r"--allow-signature-change .*\n(.*\n)*.*classes: zero, one becomes zero, one, two"
    ):
        promote(deployment)
    promote(deployment, allow_signature_change=True)
    assert ["0004", "."] == deployment.alias_names()


def test_a_damaged_bundle_is_never_pointed_to(deployment: Deployment) -> None:
    (deployment.bundle_folder("0001") / "model.onnx").write_bytes(b"x")
    with pytest.raises(BundleError, match="was changed"):
        promote(deployment, "0001")
    promote(deployment, "0003")
    (deployment.bundle / "model.onnx").write_bytes(b"x")
    with pytest.raises(BundleError, match="was changed"):
        rollback(deployment)
    assert ["0003", "."] == deployment.alias_names()


def test_one_can_go_back_from_what_is_damaged(deployment: Deployment) -> None:
    promote(deployment, "0003")
    (deployment.bundle_folder("0003") / "model.onnx").write_bytes(b"x")
    rollback(deployment)
    assert ["."] == deployment.alias_names()


def test_two_at_once_are_refused(deployment: Deployment) -> None:
    with deployment.exclusive(), pytest.raises(BundleError, match=r"another process .* is changing"):
        promote(deployment)
    promote(deployment)


def test_the_commands_flip_and_tell(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, shown in ((["promote"], "0003"), (["rollback"], "digits")):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, str(deployment.bundle)])
        assert 0 == ended.value.code
        assert f"{shown} answers now (" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["promote", str(deployment.bundle), "0002"])
    assert 1 == ended.value.code
    assert "did not pass its gate" in capsys.readouterr().err
