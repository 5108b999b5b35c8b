"""Trained policy of a finished run, with episodes displayed in a window or recorded as video."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from attrs import frozen

from rlcl.data.environments.action_masks import action_masks
from rlcl.errors import DataError, RlclError, UnsupportedError, did_you_mean
from rlcl.evaluation.episode_video import EpisodeVideo, record_episode
from rlcl.evaluation.measures import environment_of
from rlcl.experiment import Experiment
from rlcl.launch.restored_run import restore_run
from rlcl.tracking.runs import StoredRun
from rlcl.training.trainer import Trainer
from rlcl.types import EnvironmentSource, Experience, masks_actions

__all__ = ["PolicyEpisode", "TrainedPolicy", "load_policy"]


@frozen
class PolicyEpisode:
    """One episode of a policy.

    Args:
        seed: the seed of the environment.
        total_return: the undiscounted return.
        finished: whether the episode ended before the limit of steps.
        video: the frames; None if the episode was not recorded.
    """

    seed: int
    total_return: float
    finished: bool
    video: EpisodeVideo | None = None


@frozen(eq=False)
class TrainedPolicy:
    """A trained learner and the environments that it was evaluated on.

    Args:
        experiment: the config of the run.
        trainer: a trainer with the learner's final state.
    """

    experiment: Experiment
    trainer: Trainer

    def experience(self, name: str | None) -> Experience:
        """Return the experience with a name, or with a number from 1; the last one if the name is None.

        Raises:
            UnsupportedError: there is no such experience.
        """
        experiences = tuple(map(self.trainer.present, self.trainer.stream.evaluated))
        if name is None:
            return experiences[-1]
        same_name = [e for e in experiences if e.name == name]
        if same_name:
            return same_name[0]
        if name.isdigit() and 1 <= int(name) <= len(experiences):
            return experiences[int(name) - 1]
        near = did_you_mean(name, [e.name for e in experiences])
        raise UnsupportedError(f"--experience {name}: expected a number from 1 to {len(experiences)}, or a name{near}")

    def source(self, experience: Experience) -> EnvironmentSource:
        """Return the source of a single environment that the policy is evaluated on."""
        return environment_of(experience, self.experiment.evaluation).alone()

    def record_episodes(self, experience: Experience, seeds: range, steps: int, every: int) -> Iterator[PolicyEpisode]:
        """Roll out episodes and record their frames.

        Args:
            experience: the experience with the environment.
            seeds: the environment seed of each episode.
            steps: env steps after which an episode is truncated.
            every: env steps per frame.

        Raises:
            UnsupportedError: the environment cannot be rendered.
        """
        source = self.source(experience)
        for seed in seeds:
            video = record_episode(
                self.trainer.learner, source, self._task_id(experience), -(-steps // every), every, seed
            )
            if video is None:
                raise UnsupportedError(
                    f"--gif: environment {source.name} cannot be rendered; it needs render_mode rgb_array and its "
                    "rendering library (for Gymnasium's environments: pip install pygame)"
                )
            yield PolicyEpisode(seed, video.returns[-1], video.ended, video)

    def display_episodes(self, experience: Experience, seeds: range, steps: int) -> Iterator[PolicyEpisode]:
        """Roll out episodes in the environment's own window; see :meth:`record_episodes`.

        Raises:
            UnsupportedError: the environment has no window, or no window can be opened on this machine.
        """
        source = self.source(experience)
        try:
            window = source.alone(render_mode="human").make_vector(1)
        except DataError as error:
            raise UnsupportedError(f"{error}; or write a GIF file with --gif FILE") from error
        try:
            for seed in seeds:
                yield self._rollout(window, seed, steps, self._task_id(experience))
        except RlclError:
            raise
        except Exception as error:  # any error of the window, for example a missing pygame or a missing display
            raise UnsupportedError(
                f"environment {source.name}: no window can be opened ({str(error).splitlines()[0]}); "
                "write a GIF file with --gif FILE"
            ) from error
        finally:
            window.close()

    def _rollout(self, window: Any, seed: int, steps: int, task_id: int | None) -> PolicyEpisode:
        learner = self.trainer.learner
        masking = masks_actions(learner)
        observations, info = window.reset(seed=seed)
        total_return, state = 0.0, None
        for _ in range(steps):
            allowed = {"action_masks": action_masks(window, info)} if masking else {}
            actions, state = learner.predict(observations, task_id, state, **allowed)
            observations, rewards, terminated, truncated, info = window.step(np.asarray(actions))
            total_return += float(rewards[0])
            if terminated[0] or truncated[0]:
                return PolicyEpisode(seed, total_return, True)
        return PolicyEpisode(seed, total_return, False)

    def _task_id(self, experience: Experience) -> int | None:
        return experience.task_id if self.trainer.stream.visibility.at_evaluation else None


def load_policy(run: StoredRun) -> TrainedPolicy:
    """Build the learner of a run from its config and load its newest checkpoint, on the CPU.

    Raises:
        UnsupportedError: the run learned from data, not from environments.
        RunFolderError: the config cannot be read.
        CheckpointError: there is no intact checkpoint.
    """
    restored = restore_run(run)
    if restored.trainer.stream.spec.kind != "environment":
        raise UnsupportedError(f"{run.path} learned from data; only runs with environments can be watched")
    return TrainedPolicy(restored.experiment, restored.trainer)
