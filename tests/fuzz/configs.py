"""Experiment files and overrides, changed here and there: read, built, and trained for a moment."""

from __future__ import annotations

import copy
import json
import random
import time
from pathlib import Path
from typing import Any, get_args

import attrs
from ruamel.yaml import YAML

from fuzz.kind import Case, Failed, Kind, quiet, refusable
from fuzz.odd import mutated_bytes, places, put, values_for
from rlcl.config import options_class, read
from rlcl.errors import RlclError
from rlcl.experiment import Experiment, load_experiment
from rlcl.registry import entries, find

__all__ = ["Configs", "trained_for"]

DIGITS = {"type": "class_incremental", "data": {"type": "digits"}, "experiences": 2}
CART = {"type": "environments", "env": "CartPole-v1", "tasks": [{}, {"attributes": {"gravity": 20}}], "num_envs": 2}
SMALL = {"type": "mlp", "hidden": [8]}
RL = {"budget": {"env_steps": 128}, "evaluation": {"episodes": 1, "episode_steps": 20}}
BASES: tuple[dict[str, Any], ...] = (
    {
        "stream": DIGITS,
        "encoder": [{"type": "standardize"}, {"type": "flatten"}],
        "learner": {"type": "classifier", "network": SMALL, "methods": [{"type": "ewc"}, {"type": "l2"}]},
        "budget": {"updates": 4},
        "evaluation": {"every": {"updates": 2}, "probes": ["effective_rank"]},
        "objective": {"success": ["accuracy.average >= 0.5"], "constraints": {"minutes": 100}},
    },
    {
        "stream": {**DIGITS, "type": "task_incremental"},
        "learner": {
            "type": "classifier",
            "network": {"type": "multihead", "body": SMALL},
            "optimizer": {"type": "sgd", "lr": 0.1, "momentum": 0.9},
            "schedule": {"type": "cosine"},
            "methods": [{"type": "rehearsal", "capacity": 20}],
        },
        "budget": {"epochs": 1},
        "validation": 0.1,
    },
    {"stream": CART, "learner": {"type": "ppo", "n_steps": 16, "network": SMALL}, **RL},
    {
        "stream": CART,
        "encoder": {"type": "running_norm"},
        "learner": {"type": "dqn", "learning_starts": 20, "capacity": 100, "network": SMALL},
        **RL,
    },
    {
        "stream": {"type": "environments", "env": "Pendulum-v1"},
        "learner": {"type": "sac", "learning_starts": 20, "capacity": 100, "network": SMALL},
        **RL,
    },
    {"stream": CART, "learner": {"type": "sb3", "algorithm": "PPO", "options": {"n_steps": 16}}, **RL},
    {
        "stream": {"type": "data_incremental", "data": {"type": "diabetes"}, "experiences": 2},
        "learner": {"type": "regressor", "network": SMALL},
        "budget": {"samples": 100},
        "boundary": {"optimizer": "reset"},
    },
    {
        "stream": {"type": "joint", "of": {"type": "permuted", "data": {"type": "digits"}, "experiences": 2}},
        "learner": {"type": "vae", "likelihood": "gaussian"},
        "budget": {"updates": 2},
    },
)
COMMON = {"name": "fuzz", "seeds": [0], "sinks": [], "threads": 1}
CHANGED = ("stream", "learner", "encoder", "network", "method", "optimizer", "schedule", "data")
LIKELY: tuple[Any, ...] = (True, False, None, 0, 1, 2, 3, 7, 100, 10**9, 0.0, 1e-8, 0.1, 0.5, 0.999, 1.0, 2.5, 1e9, "x")
SECONDS = 0.3  # of training
SHARE = 0.3  # of the configs that can be built, which are trained


def trained_for(experiment: Experiment, seconds: float) -> None:
    """Builds everything, and trains for a moment."""
    from rlcl.launch.build import make_trainer
    from rlcl.launch.memory_errors import memory_errors

    trainer = make_trainer(experiment, experiment.seeds[0])
    with memory_errors(experiment):
        until = time.monotonic() + seconds
        for _ in trainer.events() if seconds else ():
            if time.monotonic() > until:
                break


class Configs(Kind):
    """An experiment with one to three things wrong in its values, in its text or on the command line."""

    name = "configs"

    def prepare(self, folder: Path) -> None:
        for kind in CHANGED:
            for name in set(entries(kind)) - UNUSED:
                options_class(find(kind, name))  # imported once, and not in each process

    def take(self, case: Case) -> str:
        rng = case.rng
        config = copy.deepcopy({**COMMON, **rng.choice(BASES)})
        overrides: list[str] = []
        for _ in range(rng.choice((1, 1, 2, 3))):
            how = rng.random()
            if how < 0.12:
                config, said = put(rng, config)
                case.tried.append(f"# {said}")
            elif how < 0.65:
                case.tried.append(f"# {_set(rng, config)}")
            elif how < 0.85:
                case.tried.append(f"# {_swapped(rng, config)}")
            else:
                overrides.append(_override(rng, config))
        text = _written(config)
        if rng.random() < 0.1:
            text, said = mutated_bytes(rng, text)
            case.tried.append(f"# {said}")
        path = case.folder / "fuzz.yaml"
        path.write_bytes(text)
        case.tried += [text.decode(errors="backslashreplace")[:4000], f"overrides: {overrides!r:.2000}"]
        seconds = SECONDS if rng.random() < SHARE else 0.0
        with quiet():
            return refusable(lambda: _taken(path, overrides, seconds))


def _taken(path: Path, overrides: list[str], seconds: float) -> str:
    try:
        experiment = load_experiment(path, overrides)
    except RlclError as error:
        if error.exit_status != 2:
            raise Failed(f"a fault of the config has exit status {error.exit_status}: {error}") from error
        raise
    trained_for(experiment, seconds)
    return "trained" if seconds else "built"


def _set(rng: random.Random, config: Any) -> str:
    """Sets one of the settings that a component has to something that it may be."""
    components = [path[:-1] for path in places(config) if path[-1] == "type"]
    if not components:
        return "nothing is set"
    path = rng.choice(components)
    node = _at(config, path)
    kind = next((kind for kind in CHANGED if isinstance(node["type"], str) and node["type"] in entries(kind)), None)
    if kind is None:
        return "nothing is set"
    known = attrs.fields(options_class(find(kind, node["type"])))
    if not known:
        return "nothing can be set"
    setting = rng.choice(known)
    key = setting.name
    words = [word for arm in (setting.type, *get_args(setting.type)) for word in get_args(arm) if isinstance(word, str)]
    named = [{"type": name} for each in CHANGED for name in rng.sample(sorted(set(entries(each)) - UNUSED), 1)]
    allowed = [value for value in (*LIKELY, *words, *named, *([each] for each in named)) if _allows(setting, value)]
    node[key] = rng.choice(allowed or LIKELY)
    return f"{path} has {key}: {node[key]!r}"


def _allows(setting: attrs.Attribute[Any], value: Any) -> bool:
    try:
        read(value, setting.type, setting.metadata["rule"])
    except Exception:
        return False
    return True


def _swapped(rng: random.Random, config: Any) -> str:
    """Puts the name of another component where one is named."""
    named = [path for path in places(config) if path[-1] == "type"]
    if not named:
        return "nothing is swapped"
    path = rng.choice(named)
    node = config
    for key in path[:-1]:
        node = node[key]
    likely = [kind for kind in CHANGED if node["type"] in entries(kind)] if isinstance(node["type"], str) else []
    kind = rng.choice(likely) if likely and rng.random() < 0.9 else rng.choice(CHANGED)
    chosen = rng.choice(sorted(set(entries(kind)) - UNUSED))
    if rng.random() < 0.8:  # what the other one needs has a default, more often than not
        for other in [key for key in node if key != "type" and key not in ("data", "of", "experiences")]:
            del node[other]
    node["type"] = chosen
    return f"{path} becomes {chosen}"


# What would be downloaded, or takes seconds to import.
UNUSED = frozenset(
    "mnist fashion_mnist kmnist emnist svhn cifar10 cifar100 avalanche backbone core50 cinic10".split()  # noqa: SIM905
)


def _override(rng: random.Random, config: Any) -> str:
    path = rng.choice([*places(config), ("learner",), ("encoder",), ("learner", "lr"), ("x", "y")])
    key = "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in path).removeprefix(".")
    if rng.random() < 0.1:
        key = rng.choice((key + ".extends", key + "[0]", key + "[99]", key + ".", "." + key, key + ".type", "", "[0]"))
    if rng.random() < 0.1:
        raw = ("!!int abc", "!!python/object:os.system {}", "&a [*a]", "{", "[" * 3000, "'", "!!float x", "!!set {a}")
        return f"{key}={rng.choice((*raw, '2001-13-45', '!!timestamp x', '? [a]', '!!binary x', '<<: 1', '*x'))}"
    return f"{key}={_flow(values_for(rng, _at(config, path)))}"


def _at(node: Any, path: tuple[Any, ...]) -> Any:
    """What stands at a path; None where there is nothing."""
    for key in path:
        if not (isinstance(node, dict) and key in node) and not (isinstance(node, list) and key in range(len(node))):
            return None
        node = node[key]
    return node


def _flow(value: Any) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        return str(value)


def _written(config: Any) -> bytes:
    """As YAML; JSON, which is YAML too, of what that writer cannot write."""
    import io

    stream = io.StringIO()
    try:
        YAML(typ="safe", pure=True).dump(config, stream)
        return stream.getvalue().encode("utf-8", "surrogatepass")
    except Exception:
        return json.dumps(config, default=str, skipkeys=True).encode()
