"""Names of settings in Stable-Baselines3, as aliases of the settings of our reinforcement learners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlcl.config.aliases import Alias
from rlcl.errors import Problem

__all__ = ["DQN_ALIASES", "PPO_ALIASES", "SAC_ALIASES", "TD3_ALIASES"]


def _env_steps(train_freq: Any, config: Mapping[str, Any]) -> int:
    """Convert vector steps, of all environments at once, to env steps."""
    if not isinstance(train_freq, int) or isinstance(train_freq, bool) or train_freq < 1:
        raise Problem(
            f"expected an integer of at least 1 (vector steps), got {train_freq!r}; set train_every (env steps)"
        )
    return train_freq * _num_envs(config.get("stream"))


def _num_envs(stream: Any) -> int:
    while isinstance(stream, Mapping) and "num_envs" not in stream and "of" in stream:
        stream = stream["of"]
    found = stream.get("num_envs", 1) if isinstance(stream, Mapping) else 1
    return found if isinstance(found, int) else 1


def _temperature(ent_coef: Any, config: Mapping[str, Any]) -> Any:
    if isinstance(ent_coef, str) and ent_coef.startswith("auto_"):
        raise Problem(f"{ent_coef!r} is not supported; set entropy: auto and temperature: {ent_coef[5:]}")
    return ent_coef


_ALL = {"learning_rate": Alias("optimizer.lr"), "max_grad_norm": Alias("clip_norm")}
_OFF_POLICY = {
    **_ALL,
    "buffer_size": Alias("capacity"),
    "n_steps": Alias("n_step"),
    "train_freq": Alias("train_every", _env_steps),
}
PPO_ALIASES: Mapping[str, Alias] = {
    **_ALL,
    "clip_range": Alias("clip"),
    "ent_coef": Alias("entropy_weight"),
    "log_std_init": Alias("log_std"),
    "n_epochs": Alias("epochs"),
    "normalize_advantage": Alias("normalize_advantages"),
    "vf_coef": Alias("value_weight"),
}
DQN_ALIASES: Mapping[str, Alias] = {
    **_OFF_POLICY,
    "exploration_final_eps": Alias("exploration.end"),
    "exploration_fraction": Alias("exploration.share"),
    "exploration_initial_eps": Alias("exploration.start"),
    "target_update_interval": Alias("target_interval"),
}
SAC_ALIASES: Mapping[str, Alias] = {
    **_OFF_POLICY,
    "ent_coef": Alias("entropy", _temperature),
}
TD3_ALIASES: Mapping[str, Alias] = {
    **_OFF_POLICY,
    "target_noise_clip": Alias("smoothing_clip"),
    "target_policy_noise": Alias("smoothing"),
}
