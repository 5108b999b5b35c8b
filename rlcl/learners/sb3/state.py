"""State of a Stable-Baselines3 model at a boundary, as a tree of tensors and plain values.

The zip archives of Stable-Baselines3 contain pickles, which execute code when they are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

__all__ = ["first_not_finite", "load_model_state", "model_state"]

COUNTERS = (
    "num_timesteps",
    "_episode_num",
    "_n_updates",
    "_n_calls",
    "exploration_rate",
    "_current_progress_remaining",
)
BUFFER_ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
EPISODES = ("ep_start", "ep_length")  # additional arrays of HerReplayBuffer: the episode of each row


def model_state(model: BaseAlgorithm) -> dict[str, Any]:
    """Return weights, optimizers, other variables (SAC's temperature), replay buffer, counters, sampling state."""
    _, variables = model._get_torch_save_params()
    state: dict[str, Any] = {
        "parameters": model.get_parameters(),
        "variables": {name: getattr(model, name) for name in variables if getattr(model, name) is not None},
        "counters": {name: getattr(model, name) for name in COUNTERS if hasattr(model, name)},
        "action_space": model.action_space.np_random.bit_generator.state,
    }
    buffer = getattr(model, "replay_buffer", None)
    if buffer is not None:
        rows = buffer.buffer_size if buffer.full else buffer.pos
        state["buffer"] = {
            "pos": buffer.pos,
            "full": buffer.full,
            "arrays": {name: _part(getattr(buffer, name), rows) for name in BUFFER_ARRAYS if hasattr(buffer, name)},
        }
        if isinstance(buffer, HerReplayBuffer):
            state["hindsight"] = {
                "arrays": {name: _part(getattr(buffer, name), rows) for name in EPISODES},
                "begun": buffer._current_ep_start,
                "infos": [list(map(dict, row)) for row in buffer.infos[:rows]] if buffer.copy_info_dict else [],
            }
    return state


def load_model_state(model: BaseAlgorithm, state: Mapping[str, Any]) -> None:
    """Restore the state of :func:`model_state` in a model of the same config."""
    model.set_parameters(dict(state["parameters"]), exact_match=True, device=model.device)
    for name, value in state["variables"].items():
        getattr(model, name).data.copy_(value)
    for name, value in state["counters"].items():
        setattr(model, name, value)
    model.action_space.np_random.bit_generator.state = state["action_space"]
    buffer = getattr(model, "replay_buffer", None)
    if buffer is not None:
        buffer.pos, buffer.full = state["buffer"]["pos"], state["buffer"]["full"]
        for name, value in state["buffer"]["arrays"].items():
            _fill(getattr(buffer, name), value)
    if isinstance(buffer, HerReplayBuffer):
        hindsight = state["hindsight"]
        for name, value in hindsight["arrays"].items():
            _fill(getattr(buffer, name), value)
        buffer._current_ep_start = np.array(hindsight["begun"])
        for row, infos in enumerate(hindsight["infos"]):
            buffer.infos[row] = infos


def first_not_finite(model: BaseAlgorithm) -> str | None:
    """Return the name of the first buffer array with NaN or infinity: ``rewards``, ``observations``, or None."""
    buffer = getattr(model, "rollout_buffer", None) or getattr(model, "replay_buffer", None)
    for name in ("rewards", "observations"):
        array = getattr(buffer, name, None)
        if isinstance(array, np.ndarray) and not np.isfinite(array).all():
            return name
    return None


def _part(array: Any, rows: int) -> Any:
    if isinstance(array, Mapping):
        return {key: _part(value, rows) for key, value in array.items()}
    return torch.from_numpy(np.ascontiguousarray(array[:rows]))


def _fill(array: Any, values: Any) -> None:
    if isinstance(array, Mapping):
        for key in array:
            _fill(array[key], values[key])
    else:
        array[: len(values)] = values.numpy()
