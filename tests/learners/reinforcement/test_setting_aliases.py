"""Settings of our reinforcement learners under their names in Stable-Baselines3."""

from __future__ import annotations

import inspect
import logging
from contextlib import nullcontext
from typing import Any

import jsonschema
import pytest
import stable_baselines3

from rlcl.config import options_class
from rlcl.errors import ConfigError
from rlcl.experiment import Experiment, experiment_from, schema
from rlcl.registry import find

ENVIRONMENTS = {"type": "environments", "env": "CartPole-v1", "num_envs": 8}
LEARNERS = ("ppo", "dqn", "sac", "td3")


def experiment(learner: dict[str, Any], stream: Any = ENVIRONMENTS) -> Experiment:
    return experiment_from({"name": "a", "stream": stream, "learner": learner, "budget": {"env_steps": 100}})


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"type": "ppo", "n_epochs": 4}, {"type": "ppo", "epochs": 4}),
        (
            {"type": "ppo", "ent_coef": 0.1, "vf_coef": 0.2, "max_grad_norm": 0.3, "clip_range": 0.4},
            {"type": "ppo", "entropy_weight": 0.1, "value_weight": 0.2, "clip_norm": 0.3, "clip": 0.4},
        ),
        # Only the rate changes: the optimizer's default has an epsilon of its own.
        (
            {"type": "ppo", "learning_rate": 0.1},
            {"type": "ppo", "optimizer": {"type": "adam", "lr": 0.1, "epsilon": 1e-5}},
        ),
        (
            {"type": "dqn", "learning_rate": 0.1, "optimizer": "sgd"},
            {"type": "dqn", "optimizer": {"type": "sgd", "lr": 0.1}},
        ),
        # Four vector steps of eight environments.
        ({"type": "dqn", "train_freq": 4}, {"type": "dqn", "train_every": 32}),
        (
            {"type": "dqn", "exploration_fraction": 0.3, "exploration_final_eps": 0.01},
            {"type": "dqn", "exploration": {"share": 0.3, "end": 0.01}},
        ),
        (
            {"type": "dqn", "buffer_size": 500, "target_update_interval": 20, "n_steps": 3},
            {"type": "dqn", "capacity": 500, "target_interval": 20, "n_step": 3},
        ),
        ({"type": "sac", "ent_coef": 0.2}, {"type": "sac", "entropy": 0.2}),
        (
            {"type": "td3", "target_policy_noise": 0.3, "target_noise_clip": 0.4},
            {"type": "td3", "smoothing": 0.3, "smoothing_clip": 0.4},
        ),
    ],
)
def test_an_alias_gives_the_same_experiment(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    assert experiment(ours).learner == experiment(theirs).learner
    assert experiment(ours).hash == experiment(theirs).hash


def test_vector_steps_count_the_environments_within_wrappers() -> None:
    stream = {"type": "cyclic", "of": {"type": "online", "of": ENVIRONMENTS}}
    assert experiment({"type": "td3", "train_freq": 2}, stream).learner.options.train_every == 16
    alone = {"type": "environments", "env": "Pendulum-v1"}
    assert experiment({"type": "td3", "train_freq": 2}, alone).learner.options.train_every == 2


def test_a_note_says_what_is_read(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        experiment({"type": "dqn", "train_freq": 4})
    assert ["learner.train_freq: 4 is read as learner.train_every: 32"] == [r.getMessage() for r in caplog.records]


@pytest.mark.parametrize(
    ("learner", "message"),
    [
        ({"type": "ppo", "n_epochs": 4, "epochs": 3}, "learner.n_epochs: is another name of epochs, which is set too"),
        ({"type": "dqn", "train_freq": [1, "episode"]}, "learner.train_freq: expected an integer of at least 1"),
        ({"type": "sac", "ent_coef": "auto_0.1"}, "set entropy: auto and temperature: 0.1"),
        ({"type": "ppo", "learning_rate": 0.1, "optimizer": 5}, "learner.optimizer: expected"),
        ({"type": "ppo", "learning_rate": 0.1, "optimizer": None}, "learner.optimizer: expected"),
        (
            {"type": "ppo", "n_epochs": 0},
            "learner.epochs: expected a whole number of at least 1 and of at most 10000, got 0",
        ),
    ],
)
def test_a_value_without_an_equivalent_is_an_error(learner: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        experiment(learner)
    assert message in str(raised.value)


def test_an_error_names_the_line_of_the_alias(tmp_path: Any) -> None:
    from rlcl.experiment import load_experiment

    file = tmp_path / "a.yaml"
    lines = ["name: a", "stream: {type: environments, env: CartPole-v1}", "budget: {env_steps: 9}", "learner:"]
    file.write_text("\n".join([*lines, "  type: ppo", "  n_epochs: 0", ""]))
    with pytest.raises(ConfigError) as raised:
        load_experiment(file)
    assert f"{file}:6: learner.epochs" in str(raised.value)


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_alias_is_a_parameter_there_and_names_a_setting_here(learner: str) -> None:
    cls = find("learner", learner)
    algorithm = getattr(stable_baselines3, learner.upper())
    theirs = {*inspect.signature(algorithm).parameters, "log_std_init", "max_grad_norm"}  # policy_kwargs; not in all
    ours = {field.name for field in options_class(cls).__attrs_attrs__}
    for name, alias in cls.aliases.items():
        assert name in theirs
        assert name not in ours
        assert alias.setting.split(".")[0] in ours


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_parameter_there_is_a_setting_here_or_is_left_out_for_a_reason(learner: str) -> None:
    cls = find("learner", learner)
    algorithm = getattr(stable_baselines3, learner.upper())
    ours = {*(field.name for field in options_class(cls).__attrs_attrs__), *cls.aliases}
    elsewhere = {
        "policy",
        "env",
        "seed",
        "device",
        "verbose",
        "tensorboard_log",
        "stats_window_size",
        "_init_setup_model",
    }
    other = {  # what our learners do in another way
        *(
            "policy_kwargs",
            "monitor_wrapper",
            "rollout_buffer_class",
            "rollout_buffer_kwargs",
            "use_sde",
            "sde_sample_freq",
        ),
        *("clip_range_vf", "replay_buffer_class", "replay_buffer_kwargs", "optimize_memory_usage", "action_noise"),
        *("use_sde_at_warmup", "target_update_interval"),
    }
    assert set() == set(inspect.signature(algorithm).parameters) - ours - elsewhere - other


@pytest.mark.parametrize(("options", "valid"), [
    ({"n_epochs": 4, "learning_rate": 0.001, "ent_coef": 0.01}, True),
    ({"n_epochs": 0}, False),
    ({"buffer_size": 4}, False),
])  # fmt: skip
def test_the_json_schema_has_the_aliases(options: dict[str, Any], valid: bool) -> None:
    stream = {"type": "environments", "env": "CartPole-v1", "tasks": [{}]}
    content = {"name": "x", "stream": stream, "budget": {"env_steps": 64}, "learner": {"type": "ppo", **options}}
    with nullcontext() if valid else pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, schema())
