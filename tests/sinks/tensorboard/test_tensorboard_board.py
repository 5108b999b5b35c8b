"""What TensorBoard is given of a run, read back as TensorBoard reads it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import differences
from PIL import Image
from rich.console import Console
from ruamel.yaml import YAML
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import metadata, plugin_data_pb2

from rlcl.config import component, unstructure
from rlcl.experiment import Experiment, experiment_from
from rlcl.launch.seeds import run_experiment
from rlcl.sinks.tensorboard.learner_images import LearnerImages
from rlcl.training import checkpoint

QUIET = Console(quiet=True)
SMALL = {"type": "mlp", "hidden": [8]}
DIGITS: Mapping[str, Any] = {
    "name": "digits",
    "stream": {"type": "class_incremental", "experiences": 2},
    "encoder": "scale",
    "learner": {"type": "classifier", "network": SMALL, "batch_size": 64},
    "budget": {"updates": 3},
    "event_interval": 1,
}
VAE = {"type": "vae", "network": SMALL, "decoder": SMALL, "code": 3, "methods": [{"type": "generative_replay"}]}
CARTPOLE: Mapping[str, Any] = {
    "name": "cartpole",
    "stream": {"type": "environments", "env": "CartPole-v1", "tasks": [{}, {"attributes": {"length": 1.0}}]},
    "learner": {"type": "ppo", "network": SMALL, "n_steps": 32, "batch_size": 32, "epochs": 1},
    "budget": {"env_steps": 32},
    "evaluation": {"episodes": 1},
}


def experiment(base: Mapping[str, Any], **changes: Any) -> Experiment:
    return experiment_from({**base, **changes})


def ran(root: Path, base: Mapping[str, Any], **changes: Any) -> Path:
    """The folder of a run of one seed."""
    (finished,) = run_experiment(experiment(base, **changes), root, QUIET)
    return finished.path


def read(run: Path) -> EventAccumulator:
    """Everything of a board, from its one file of events."""
    (events,) = (run / "tensorboard").rglob("events.out.tfevents.*")
    return EventAccumulator(str(events), size_guidance={"images": 0, "tensors": 0, "scalars": 0}).Reload()


def steps(board: EventAccumulator) -> dict[str, list[int]]:
    return {tag: [image.step for image in board.Images(tag)] for tag in board.Tags()["images"]}


def pictured(board: EventAccumulator, tag: str) -> list[Image.Image]:
    return [Image.open(io.BytesIO(image.encoded_image_string)) for image in board.Images(tag)]


def text(board: EventAccumulator, tag: str) -> str:
    return board.Tensors(f"{tag}/text_summary")[-1].tensor_proto.string_val[0].decode()


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ran(tmp_path_factory.mktemp("runs"), DIGITS)


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ran(tmp_path_factory.mktemp("runs"), DIGITS, learner=VAE, sinks=[{"type": "tensorboard", "images": 3}])


@pytest.fixture(scope="module")
def ppo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ran(tmp_path_factory.mktemp("runs"), CARTPOLE, sinks=[{"type": "tensorboard", "frames": 4}])


def test_a_run_has_curves_and_its_metrics(classifier: Path) -> None:
    scalars = read(classifier).Tags()["scalars"]
    assert {"train/loss", "accuracy/00 digits 0-4", "learner/parameters", "Metrics/accuracy.average"} <= set(scalars)


def test_all_experiences_are_in_one_chart(ppo: Path) -> None:
    layout = layout_pb2.Layout()
    (written,) = read(ppo).Tensors("custom_scalars__config__")
    layout.ParseFromString(written.tensor_proto.string_val[0])
    charts = {c.title: {chart.title: list(chart.multiline.tag) for chart in c.chart} for c in layout.category}
    assert {
        "experiences": {"return: all experiences": ["^return/"]},
        "training": {"train/episode_return": ["^train/episode_return$"], "train/loss": ["^train/[^/]*loss$"]},
    } == charts


def test_settings_stand_beside_the_metrics_of_each_run(classifier: Path, ppo: Path) -> None:
    """Without the table of settings that torch writes: TensorBoard would take one run's for all."""
    for run, name, value in ((classifier, "learner.batch_size", 64), (ppo, "learner.n_steps", 32)):
        contents = {tag: found.plugin_data.content for tag, found in read(run).summary_metadata.items()}
        assert metadata.EXPERIMENT_TAG not in contents
        assert metadata.SESSION_END_INFO_TAG in contents
        data = plugin_data_pb2.HParamsPluginData.FromString(contents[metadata.SESSION_START_INFO_TAG])
        assert value == data.session_start_info.hparams[name].number_value
        assert data.session_start_info.group_name.startswith(f"{run.parents[1].name} seed 0 ")


def test_r_is_a_picture_and_a_table_at_each_boundary(classifier: Path) -> None:
    board = read(classifier)
    assert {"R/accuracy": [3, 6]} == steps(board)
    rows = [line.split(" | ") for line in text(board, "R/accuracy").splitlines()]
    assert ["| after", "digits 0-4", "digits 5-9 |"] == rows[0]
    assert ["| digits 0-4", "| digits 5-9"] == [row[0] for row in rows[2:]]
    last = board.Scalars("accuracy/00 digits 0-4")[-1].value
    assert f"{last:.3f}" == rows[3][1]
    average = text(board, "metrics").splitlines()[2]
    assert f"| accuracy.average | {board.Scalars('Metrics/accuracy.average')[0].value:.3f} |" == average


def test_reconstructions_stand_under_what_they_are_of(vae: Path) -> None:
    board = read(vae)
    found = steps(board)
    assert (
        [3, 6]
        == found["learner/reconstructions"]
        == found["learner/generated by vae"]
        == found["learner/generated by generative_replay"]
    )
    sheet = np.asarray(pictured(board, "learner/reconstructions")[-1])
    assert 4 * (48 + 2) == sheet.shape[0]  # two experiences, each in two rows; 8 pixels six times as large
    left = sheet.shape[1] - 3 * (48 + 2)
    original = sheet[:48:6, left : left + 48 : 6, 0]
    from sklearn.datasets import load_digits

    digits = load_digits().images / 16
    assert np.abs(digits - original / 255).max((1, 2)).min() < 1 / 255


def test_generated_inputs_fill_four_rows(vae: Path) -> None:
    assert (3 * 50, 4 * 50) == pictured(read(vae), "learner/generated by vae")[0].size


def test_films_of_what_was_learned_and_at_the_end_of_all(ppo: Path) -> None:
    board = read(ppo)
    first, second = "episode/00 CartPole-v1", "episode/01 CartPole-v1 length 1.0"
    found = steps(board)
    assert [32, 64] == found[first]
    assert [64] == found[second]
    film = pictured(board, first)[0]
    assert "GIF" == film.format
    assert 1 < film.n_frames <= 4
    assert (240, 160) == film.size


def test_the_projector_finds_its_files(vae: Path) -> None:
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    folder = vae / "tensorboard"
    config = text_format.Parse((folder / "projector_config.pbtxt").read_text(), ProjectorConfig())
    assert ["after 00 digits 0-4", "after 01 digits 5-9"] == [e.tensor_name for e in config.embeddings]
    vectors = np.loadtxt(folder / config.embeddings[1].tensor_path, delimiter="\t")
    assert (300, 3) == vectors.shape
    assert 1 == len({(e.metadata_path, e.sprite.image_path) for e in config.embeddings})  # of the same inputs
    header, *rows = (folder / config.embeddings[1].metadata_path).read_text().splitlines()
    assert "label\texperience" == header
    assert 300 == len(rows)
    assert {"0", "1", "2", "3", "4"} == {label for label, name in (r.split("\t") for r in rows) if "0-4" in name}
    with Image.open(folder / config.embeddings[1].sprite.image_path) as sprite:
        assert (18 * 32, 18 * 32) == sprite.size  # the least square of at least 300


def test_a_classifier_is_represented_by_its_last_hidden_layer(classifier: Path) -> None:
    vectors = np.loadtxt(next((classifier / "tensorboard" / "projector").glob("0*.tsv")), delimiter="\t")
    assert (300, 8) == vectors.shape
    assert (vectors >= 0).all()


BASES = {
    "classifier": DIGITS,
    "vae": {**DIGITS, "learner": VAE},
    "ppo": CARTPOLE,
    "sb3": {**CARTPOLE, "learner": {"type": "sb3", "algorithm": "PPO", "options": {"n_steps": 32, "batch_size": 32}}},
}


@pytest.mark.parametrize("base", BASES)
def test_pictures_change_no_record_and_no_weight(base: str, tmp_path: Path) -> None:
    runs = [
        ran(tmp_path / name, BASES[base], sinks=[{"type": "tensorboard", "moments": m}])
        for name, m in (("with", 10), ("without", 0))
    ]
    assert any((runs[0] / "tensorboard" / "shown").iterdir())
    assert not (runs[1] / "tensorboard" / "shown").exists()
    assert (runs[0] / "records.jsonl").read_text() == (runs[1] / "records.jsonl").read_text()
    states = [checkpoint.load_newest(run / "checkpoints", print) for run in runs]
    assert [] == differences(*(state[1]["trainer"] for state in states if state is not None))


def test_a_run_that_goes_on_shows_its_earlier_pictures_once(tmp_path: Path) -> None:
    run = ran(tmp_path, DIGITS, learner=VAE)
    before = read(run)
    (run / "summary.json").unlink()
    assert run == ran(tmp_path, DIGITS, learner=VAE)
    after = read(run)
    assert steps(before) == steps(after)
    assert text(before, "R/negative_bound") == text(after, "R/negative_bound")
    for tag in before.Tags()["images"]:
        pairs = zip(before.Images(tag), after.Images(tag), strict=True)
        assert all(a.encoded_image_string == b.encoded_image_string for a, b in pairs)


def test_pictures_of_a_long_stream_are_few(tmp_path: Path) -> None:
    stream = {"type": "class_incremental", "experiences": 5}
    run = ran(tmp_path, DIGITS, stream=stream, sinks=[{"type": "tensorboard", "moments": 2}])
    assert {"R/accuracy": [6, 15]} == steps(read(run))


def test_a_picture_that_fails_is_not_worth_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: LearnerImages, trained_on: int) -> None:
        raise OSError("no luck")

    monkeypatch.setattr(LearnerImages, "pictures", fail)
    with pytest.warns(UserWarning, match=r"the images of the learner could not be written \(OSError: no luck\)"):
        run = ran(tmp_path, DIGITS)
    assert "Metrics/accuracy.average" in read(run).Tags()["scalars"]


def test_the_documented_settings_are_the_defaults() -> None:
    guide = Path(__file__).parents[3] / "docs" / "how-to" / "use-tensorboard.md"
    block = guide.read_text().split("```yaml\n")[1].split("```")[0]
    (documented,) = YAML(typ="safe").load(block)["sinks"]
    assert documented == unstructure(component("sink", "tensorboard"))
