"""A bundle learns classes that it did not know: through the command line, on real digits."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import rlcl.deploy
from rlcl.commands import main
from rlcl.deploy.bundle import Bundle, seal
from rlcl.deploy.deployment import Deployment
from rlcl.deploy.log import Answer, Feedback, RequestLog, pack_row
from rlcl.deploy.signature import Field, Signature
from rlcl.deploy.updating import added_experiences, new_data
from rlcl.errors import BundleError

EXPERIMENT = """
name: digits
stream: {type: class_incremental, data: {type: npz, path: PATH}, experiences: 1}
encoder: {type: standardize}
learner:
  type: classifier
  network: {type: mlp, hidden: [64]}
  optimizer: {type: adam, lr: 3e-3}
  methods: [{type: rehearsal, capacity: 600, batch_size: 64}]
budget: {epochs: 8}
"""


def told(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    found = capsys.readouterr()
    return int(ended.value.code or 0), found.out, found.err


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the digits 0 to 6, and beside it new.npz with 7 to 9."""
    folder = tmp_path_factory.mktemp("update")
    digits = load_digits()
    x, y = digits.images.reshape(-1, 64).astype(np.float32), digits.target
    np.savez(folder / "old.npz", x=x[y < 7], y=y[y < 7])
    np.savez(folder / "new.npz", x=x[y >= 7], y=y[y >= 7])
    (folder / "digits.yaml").write_text(EXPERIMENT.replace("PATH", str(folder / "old.npz")))
    for arguments in (
        ["run", str(folder / "digits.yaml"), "--root", str(folder / "runs"), "-q"],
        ["export", "digits", "--root", str(folder / "runs"), "--to", str(folder / "digits")],
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert not ended.value.code
    return folder


@pytest.fixture
def bundle(exported: Path, tmp_path: Path) -> Path:
    shutil.copytree(exported / "digits", tmp_path / "digits")
    return tmp_path / "digits"


def verdict(bundle: Path, name: str) -> Any:
    return json.loads((Deployment(bundle).candidates / f"{name}.verdict.json").read_text())


def test_rehearsal_passes_where_a_naive_update_is_rejected(
    exported: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = str(exported / "new.npz")
    status, out, _ = told(["update", str(bundle), "--from", new, "--forgetting", "0.1", "learner.methods=[]"], capsys)
    assert 4 == status, out
    assert "rejected" in out
    naive = {c["name"]: c for c in verdict(bundle, "0001")["conditions"]}
    assert "passed" == naive["gain on new"]["verdict"]
    (forgotten,) = [c for name, c in naive.items() if name.startswith("forgetting")]
    assert ("rejected", True) == (forgotten["verdict"], forgotten["value"] < -0.2)
    status, out, _ = told(["update", str(bundle), "--from", new, "--forgetting", "0.1"], capsys)
    assert 0 == status, out
    assert "classes: 0, 1, 2, 3, 4, 5, 6 becomes 0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in out
    assert "outputs.probabilities.shape: 7 becomes 10" in out
    assert verdict(bundle, "0002")["passed"]
    # What answers is as it was, until somebody promotes the candidate.
    assert bundle == Deployment(bundle).current().path


def test_a_candidate_is_a_bundle_that_can_be_updated_again(
    exported: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(["update", str(bundle), "--from", str(exported / "new.npz")], capsys)
    deployment = Deployment(bundle)
    candidate = Bundle.open(deployment.bundle_folder("0001"))
    assert ("7", "8", "9") == candidate.signature.classes[7:]
    arrays = np.load(exported / "new.npz")
    predicted = rlcl.deploy.load(candidate.path).predict(arrays["x"])
    assert 0.9 < float(np.mean(predicted == arrays["y"]))
    assert ["digits.live", "0001"] == [candidate.path.parts[-3], candidate.manifest["updates"][0]["candidate"]]
    deployment.set_alias(["0001", "."])
    status, out, _ = told(["update", str(bundle), "--from", str(exported / "old.npz")], capsys)
    assert "held out of earlier experiences; they are excluded from training" in out
    names = [c["name"] for c in verdict(bundle, "0002")["conditions"]]
    assert ["gain on old", "forgetting on old 0-6", "forgetting on new", "latency"] == names
    assert status in (4, 5), out  # nothing was new, so nothing can be gained


def test_feedback_is_learned_once(exported: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays, deployment = np.load(exported / "new.npz"), Deployment(bundle)
    x, y = arrays["x"][:200], arrays["y"][:200]
    opened = Bundle.open(bundle)
    outputs = rlcl.deploy.load(bundle).outputs(x)
    log = RequestLog.open(deployment.log, write=True)
    log.register(opened.digest, opened.signature)
    known = {"input": x, **outputs}
    fields = opened.signature
    answers = [
        Answer(
            id=str(row),
            time=float(row),
            bundle=opened.digest,
            task_id=None,
            input=pack_row(fields.inputs, known, row),
            output=pack_row(fields.outputs, known, row),
        )
        for row in range(200)
    ]
    log.write(answers, [Feedback(id=str(row), time=0.0, value=str(y[row])) for row in range(150)])
    status, out, _ = told(["update", str(bundle), "--forgetting", "0.1"], capsys)
    assert 0 == status, out
    (condition,) = [c for c in verdict(bundle, "0001")["conditions"] if c["name"] == "gain on log 1-150"]
    assert 45 - 3 <= condition["samples"] <= 45
    deployment.set_alias(["0001", "."])
    status, _, err = told(["update", str(bundle)], capsys)
    assert 1 == status
    assert "the log contains 0 answers with new feedback" in err


def test_the_same_update_gives_the_same_weights(
    exported: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        told(["update", str(bundle), "--from", str(exported / "new.npz"), "budget.epochs=1"], capsys)
    first, second = (Deployment(bundle).bundle_folder(name) for name in ("0001", "0002"))
    for name in ("weights.safetensors", "update/tensors.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_every_step_is_in_the_audit(exported: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(["update", str(bundle), "--from", str(exported / "new.npz"), "budget.epochs=1"], capsys)
    deployment = Deployment(bundle)
    begun, judged = map(json.loads, (deployment.folder / "audit.jsonl").read_text().splitlines())
    assert ("update", "judge") == (begun["what"], judged["what"])
    assert Bundle.open(bundle).digest == begun["parent"] == judged["parent"]
    assert Bundle.open(deployment.bundle_folder("0001")).digest == judged["digest"]
    assert {"name", "verdict", "value", "low", "high", "samples"} <= judged["conditions"][0].keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "nowhere.npz"], "--from nowhere.npz: no such file; expected log, or an npz file with x and y"),
        (["--from", "{attributes: {gravity: 20}}"], "this model was trained on arrays"),
        (["--from", "{attributes: ["], "not valid YAML"),
        ([], "no requests were logged"),
        (["--from", "NEW", "learner.network.hidden=[8]"], "can only grow by its outputs"),
        (
            ["--from", "NEW", "learner.optimizer.lrr=1"],
            "command line: learner.optimizer.lrr: unknown key; did you mean lr",
        ),
        (
            ["--from", "NEW", "learner.optimzer.lr=1"],
            "command line: learner.optimzer: unknown key; did you mean optimizer",
        ),
        (
            ["--from", "NEW", "learner.type=vae"],
            "command line: learner.type: expected classifier, whose state the update resumes, got vae",
        ),
        (["--from", "NEW", "encoder=scale"], "command line: encoder: an update cannot change the encoder"),
        (
            ["--from", "NEW", "learner.methods[0].capacity=20"],
            "the capacity of a memory of 600 examples cannot be changed to 20",
        ),
        (["NEW"], "expected KEY=VALUE; to name the new data, use --from"),
        (
            ["--from", "NEW", "--gain", "1"],
            "--gain 1: expected a number below 1, because the gain is a difference of accuracies",
        ),
        (
            ["--from", "NEW", "stream.data.test_fraction=0.5"],
            "or remove the changes that affect them (stream.data.test_fraction=0.5)",
        ),
    ],
)
def test_a_users_mistake_is_one_message(
    exported: Path, bundle: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    new = str(exported / "new.npz")
    status, _, err = told(["update", str(bundle), *(new if a == "NEW" else a for a in arguments)], capsys)
    assert status in (1, 2)
    assert message in " ".join(err.replace("│", " ").split())
    assert not list(Deployment(bundle).candidates.glob("[0-9]*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["learner.metods=[]"], "command line: learner.metods: unknown key; did you mean methods?"),
        (["--from", "nowhere.npz"], "no such file"),
        (["--from", "OLD"], "x: expected the shape (B, 64), got (4, 8, 8)"),
        (["--from", "{attributes: {gravity: 20}}"], "this model was trained on arrays"),
        (["--gain", "2"], "expected a number below 1"),
        (["learner.type=gdumb"], "learner.type: expected classifier, whose state the update resumes"),
        ([], "no requests were logged"),
    ],
)
def test_what_needs_no_data_is_told_before_they_are_loaded(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    text = (bundle / "experiment.yaml").read_text()
    (bundle / "experiment.yaml").write_text(re.sub(r"path: .*", "path: gone.npz", text))
    seal(bundle)
    np.savez(tmp_path / "images.npz", x=np.zeros((4, 8, 8)), y=np.zeros(4, int))
    old = str(tmp_path / "images.npz")
    _, _, err = told(["update", str(bundle), *(old if a == "OLD" else a for a in arguments)], capsys)
    assert message in err
    assert "gone.npz" not in err
    assert 1 == err.count("rlcl: ")


def test_a_bundle_without_its_part_for_updating_is_told_first(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(bundle / "update")
    status, _, err = told(["update", str(bundle), "--from", "nowhere.npz"], capsys)
    assert 1 == status
    assert "has no update part, so it can be served but not updated; export the run with it" in err


def test_what_goes_on_is_told(exported: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = told(["update", str(bundle), "--from", str(exported / "new.npz"), "budget.epochs=1"], capsys)
    lines = [line for line in out.splitlines() if line.startswith(("training on", "exporting", "judging"))]
    assert [
        "training on new: 374 inputs, 159 held out; new classes 7, 8, 9",  # of 179, 174 and 180: 53, 52 and 54
        "exporting candidate 0001",
        "judging gain on new (1 of 2)",
        "judging forgetting on old 0-6 (2 of 2)",
    ] == lines


def test_forgetting_is_judged_on_the_data_of_the_bundle_alone(
    exported: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["held_out"][0]["inputs"] = "0" * 64
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    seal(bundle)
    _, _, err = told(["update", str(bundle), "--from", str(exported / "new.npz")], capsys)
    assert "the held-out data of experience 0 (old 0-6) differ from those of the bundle" in err


def test_an_input_that_is_asked_often_counts_once_with_its_latest_label() -> None:
    x = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [5.0, 6.0], [7.0, 8.0], [3.0, 4.0]], np.float32)
    fields = (Field(name="input", shape=(2,), dtype="float32"),)
    outputs = (Field(name="class", shape=(), dtype="int64"),)
    signature = Signature(kind="classifier", inputs=fields, outputs=outputs, classes=("a", "b"))
    made = new_data.split_rows("log", x, ["a", "a", "b", "a", "c", "b"], signature, 0.5)
    rows = torch.cat([made.train[0], made.test[0]]).tolist()
    assert sorted(rows) == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]
    told = {
        tuple(row.tolist()): name
        for row, name in zip(
            torch.cat([made.train[0], made.test[0]]),
            [made.classes[int(i)] for i in torch.cat([made.train[1], made.test[1]])],
            strict=True,
        )
    }
    assert {(1.0, 2.0): "b", (3.0, 4.0): "b", (5.0, 6.0): "a", (7.0, 8.0): "c"} == told


def test_labels_that_come_late_are_learned_by_the_next_update(bundle: Path, tmp_path: Path) -> None:
    opened = Bundle.open(bundle)
    fields = opened.signature
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 16, (20, 64)).astype(np.float32)
    known = {"input": x, "class": np.zeros(20, np.int64), "probabilities": np.full((20, 7), 1 / 7, np.float32)}
    log = RequestLog.open(tmp_path / "log.sqlite", write=True)
    log.register(opened.digest, fields)
    made = [
        Answer(
            id=str(row),
            time=0.0,
            bundle=opened.digest,
            task_id=None,
            input=pack_row(fields.inputs, known, row),
            output=pack_row(fields.outputs, known, row),
        )
        for row in range(20)
    ]
    log.write(made, [Feedback(id=str(row), time=0.0, value="1") for row in range(10, 20)])
    first = new_data.read_log(log, fields, [], 0.3)
    log.write([], [Feedback(id=str(row), time=1.0, value="2") for row in range(10)])
    second = new_data.read_log(log, fields, [first], 0.3)
    rows = [sorted(torch.cat([made.train[0], made.test[0]]).tolist()) for made in (first, second)]
    assert [sorted(x[10:].tolist()), sorted(x[:10].tolist())] == rows
    # Numbers of another log, which was there before, say nothing of this one; where it is not known which, they do.
    (tmp_path / "added").mkdir()
    added_experiences.save_added(tmp_path, [first, attrs.evolve(second, log_id="another", last_number=1000)])
    kept = added_experiences.load_added(tmp_path)
    assert [(log.id, 10), ("another", 1000)] == [(each.log_id, each.last_number) for each in kept]
    assert "log 11-20" == new_data.read_log(log, fields, kept, 0.3).name
    with pytest.raises(BundleError, match="the log contains 0 answers with new feedback"):
        new_data.read_log(log, fields, [attrs.evolve(first, log_id="", last_number=20)], 0.3)
    log.close()


def test_a_change_of_the_learning_rate_takes_effect(
    exported: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(["update", str(bundle), "--from", str(exported / "new.npz"), "learner.optimizer.lr=1e-9"], capsys)
    (gain,) = [c for c in verdict(bundle, "0001")["conditions"] if c["name"].startswith("gain")]
    assert gain["value"] < 0.3  # nothing can be learned at such a rate


def test_a_candidate_judged_beside_another_bundle_is_not_promoted(
    exported: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment = Deployment(bundle)
    for _ in range(2):
        told(["update", str(bundle), "--from", str(exported / "new.npz"), "--forgetting", "0.1"], capsys)
    status, _, err = told(["promote", str(bundle), "0001", "--allow-signature-change"], capsys)
    assert (0, ["0001", "."]) == (status, deployment.alias_names()), err
    status, _, err = told(["promote", str(bundle), "0002"], capsys)
    assert status
    assert "was compared with another bundle than the deployed one" in err


def test_labels_that_the_model_contradicts_are_held_until_a_person_decides(
    exported: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = np.load(exported / "old.npz")
    x, y = arrays["x"] * 0.99, arrays["y"]  # other rows than those that forgetting is judged on
    flipped, right = str(bundle.parent / "flipped.npz"), str(bundle.parent / "right.npz")
    np.savez(flipped, x=x[:300], y=(y[:300] + 1) % 7)
    np.savez(right, x=x[300:500], y=y[300:500])
    status, out, _ = told(["update", str(bundle), "--from", flipped, "budget.epochs=1"], capsys)
    assert 6 == status, out
    assert "labels disagree" in out
    assert not list(Deployment(bundle).candidates.glob("[0-9]*"))
    (line,) = map(json.loads, (Deployment(bundle).folder / "audit.jsonl").read_text().splitlines())
    assert ("judge", "labels disagree") == (line["what"], line["verdict"])
    status, out, _ = told(["update", str(bundle), "--from", flipped, "--trusted", right], capsys)
    assert 4 == status, out  # what is sure shows that the candidate has become worse
    status, out, _ = told(["update", str(bundle), "--from", flipped, "--accept-labels", "budget.epochs=1"], capsys)
    assert 6 != status, out
    assert list(Deployment(bundle).candidates.glob("[0-9]*"))
    status, out, _ = told(["update", str(bundle), "--from", right, "budget.epochs=1"], capsys)
    assert 6 != status, out


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["0"] * 40 + ["lion"] * 3, "3 rows of 'lion', a class that the model does not know; expected at least 10"),
        (["0"] * 40 + [" 1"] * 12, "the class ' 1' differs from '1' only in case or white space"),
        (["0"] * 20 + ["Lion"] * 12 + ["lion "] * 12, "differs from"),
    ],
)
def test_a_new_class_that_looks_like_a_mistake_is_refused(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: list[str], message: str
) -> None:
    np.savez(tmp_path / "odd.npz", x=np.random.default_rng(0).random((len(labels), 64)), y=np.array(labels))
    status, _, err = told(["update", str(bundle), "--from", str(tmp_path / "odd.npz")], capsys)
    assert (1, True) == (status, message in err), err


def test_a_learner_that_takes_no_more_classes_is_asked_first(
    exported: Path, bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlcl.learners.supervised.classifier import Classifier

    monkeypatch.setattr(Classifier, "grows", False)
    status, _, err = told(["update", str(bundle), "--from", str(exported / "new.npz")], capsys)
    assert 2 == status
    assert "learner classifier cannot take more classes, and the new rows have the unknown classes 7, 8, 9" in err


def test_the_card_of_a_candidate_has_its_own_figures(
    exported: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(["update", str(bundle), "--from", str(exported / "new.npz"), "--forgetting", "0.1"], capsys)
    made = Bundle.open(Deployment(bundle).bundle_folder("0001"))
    card = (made.path / "MODEL_CARD.md").read_text()
    assert "Classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9." in card
    assert "Classes: 0, 1, 2, 3, 4, 5, 6.\n" not in card
    for condition in verdict(bundle, "0001")["conditions"]:
        assert condition["reason"] in card
    by_place = {c["experience"]: c["after"] for c in verdict(bundle, "0001")["conditions"] if c["name"] != "latency"}
    assert by_place == {entry["index"]: entry["result"] for entry in made.manifest["held_out"]}
    assert made.manifest["costs"]["parameters"] > Bundle.open(bundle).manifest["costs"]["parameters"]
