"""Examination of one environment by all checks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import attrs
from attrs import frozen

from rlcl.data.environments.environment import Environment
from rlcl.doctor.checks.arrays import check_arrays
from rlcl.doctor.checks.episodes import check_autoreset, check_episodes
from rlcl.doctor.checks.gymnasium_checker import check_by_gymnasium
from rlcl.doctor.checks.processes import check_pickle
from rlcl.doctor.checks.reproducibility import check_global_randomness, check_seed
from rlcl.doctor.checks.rewards import check_rewards
from rlcl.doctor.checks.spaces import check_actions, check_images, check_masks, check_observations
from rlcl.doctor.checks.speed import check_speed
from rlcl.doctor.checks.state import check_copy, check_state
from rlcl.doctor.checks.wrappers import check_wrappers
from rlcl.doctor.findings import SEVERITIES, Finding
from rlcl.doctor.recording import Recording, record
from rlcl.errors import short_error

__all__ = ["CHECKS", "Examination", "examine"]

Check = Callable[[Environment, Recording, int], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    check_seed,
    check_global_randomness,
    check_observations,
    check_images,
    check_actions,
    check_masks,
    check_rewards,
    check_episodes,
    check_autoreset,
    check_arrays,
    check_wrappers,
    check_state,
    check_copy,
    check_pickle,
    check_by_gymnasium,
    check_speed,
)


@frozen
class Examination:
    """All findings about an environment.

    Args:
        name: its name.
        steps: env steps of the rollout with random actions.
        findings: in the order of the checks.
    """

    name: str
    steps: int
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> str:
        """The highest severity of the findings."""
        return max((finding.severity for finding in self.findings), key=SEVERITIES.index, default="ok")

    def to_json(self) -> dict[str, Any]:
        counts = {severity: sum(f.severity == severity for f in self.findings) for severity in SEVERITIES}
        findings = [finding.to_json() for finding in self.findings]
        return {"environment": self.name, "env_steps": self.steps, "counts": counts, "findings": findings}


def examine(source: Environment, steps: int = 1000, seed: int = 0) -> Examination:
    """Examine an environment in a rollout with random actions, and in repetitions of its beginning.

    Args:
        source: makes the environment; its wrappers are examined too.
        steps: env steps of the rollout.
        seed: seed of the environment and of the actions.

    Raises:
        SettingError: there is no environment of that name, or it cannot be made with these settings.
        EnvironmentApiError: it is no environment.
    """
    source = attrs.evolve(source, continuing=False)  # ends of episodes are examined even if a stream hides them
    source.unguarded(checker=False).close()  # with its own warnings
    findings: list[Finding] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of steps after the end of an episode, which are a part of the examination
        findings += _all_findings(source, steps, seed)
    return Examination(source.name, steps, tuple(findings))


def _all_findings(source: Environment, steps: int, seed: int) -> Iterator[Finding]:
    recording = record(source, steps, seed)
    if recording.failure:
        yield Finding("steps", "error", recording.failure, "correct it; the other checks use the steps before")
    if recording.steps:
        for check in CHECKS:
            yield from _found(check, source, recording, seed)


def _found(check: Check, source: Environment, recording: Recording, seed: int) -> list[Finding]:
    """Return the findings of a check; an environment that fails in it is a finding, too."""
    found: list[Finding] = []
    try:
        found.extend(check(source, recording, seed))
    except Exception as error:
        name = check.__name__.removeprefix("check_").replace("_", " ")
        reason = short_error(error)
        found.append(Finding(name, "error", f"the environment failed in this check: {reason}", "correct it"))
    return found
