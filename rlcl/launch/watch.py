"""A trained policy, to be seen at work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from attrs import frozen

from rlcl.data.environments.action_masks import action_masks
from rlcl.errors import DataError, RlclError, UnsupportedError, did_you_mean
from rlcl.evaluation.filming import Film, film
from rlcl.evaluation.measures import environment_of
from rlcl.experiment import Experiment
from rlcl.launch.restored import restore
from rlcl.tracking.runs import Run
from rlcl.training.trainer import Trainer
from rlcl.types import EnvironmentSource, Experience, masks_actions

__all__ = ["Episode", "Policy", "load_policy"]


@frozen
class Episode:
    """One episode.

    Args:
        seed: of its environment.
        total: its return, undiscounted.
        ended: whether it came to its end, rather than to the number of steps asked for.
        film: its frames, where it was filmed.
    """

    seed: int
    total: float
    ended: bool
    film: Film | None = None


@frozen(eq=False)
class Policy:
    """A learner as its run left it, and the environments that it was evaluated on.

    Args:
        experiment: the run's config.
        trainer: with the learner's state loaded.
    """

    experiment: Experiment
    trainer: Trainer

    def experience(self, wanted: str | None) -> Experience:
        """The experience of a name, or of a number from 1; the last one by default.

        Raises:
            UnsupportedError: there is none, with those that there are.
        """
        every = tuple(self.trainer.stream.evaluated)
        if wanted is None:
            return every[-1]
        named = [e for e in every if e.name == wanted]
        if named:
            return named[0]
        if wanted.isdigit() and 1 <= int(wanted) <= len(every):
            return every[int(wanted) - 1]
        names = [e.name for e in every]
        raise UnsupportedError(
            f"--experience {wanted}: expected a number from 1 to {len(every)}, or a name{did_you_mean(wanted, names)}"
        )

    def source(self, experience: Experience) -> EnvironmentSource:
        """The environment that it is evaluated on, one at a time."""
        return environment_of(experience, self.experiment.evaluation).alone()

    def filmed(self, experience: Experience, seeds: range, steps: int, every: int) -> Iterator[Episode]:
        """Episodes with their frames.

        Args:
            experience: which environment.
            seeds: one an episode.
            steps: where an episode is cut off.
            every: env steps from frame to frame.

        Raises:
            UnsupportedError: the environment cannot be drawn.
        """
        source = self.source(experience)
        for seed in seeds:
            shot = film(self.trainer.learner, source, self._task_id(experience), -(-steps // every), every, seed)
            if shot is None:
                raise UnsupportedError(
                    f"--gif: environment {source.name} cannot be drawn; it needs render_mode rgb_array and what its "
                    "drawing needs (Gymnasium's own: pip install pygame)"
                )
            yield Episode(seed, shot.returns[-1], shot.ended, shot)

    def shown(self, experience: Experience, seeds: range, steps: int) -> Iterator[Episode]:
        """Episodes in the environment's own window; see :meth:`filmed`.

        Raises:
            UnsupportedError: the environment has no window, or none can be opened here.
        """
        source = self.source(experience)
        try:
            window = source.alone(render_mode="human").make_vector(1)
        except DataError as error:
            raise UnsupportedError(f"{error}; or write a film with --gif FILE") from error
        try:
            for seed in seeds:
                yield self._played(window, seed, steps, self._task_id(experience))
        except RlclError:
            raise
        except Exception as error:  # pygame is not there, nor a screen: whatever a window needs
            raise UnsupportedError(
                f"environment {source.name}: no window can be opened ({str(error).splitlines()[0]}); "
                "write a film with --gif FILE"
            ) from error
        finally:
            window.close()

    def _played(self, window: Any, seed: int, steps: int, task_id: int | None) -> Episode:
        learner = self.trainer.learner
        masking = masks_actions(learner)
        observations, info = window.reset(seed=seed)
        total, state = 0.0, None
        for _ in range(steps):
            allowed = {"action_masks": action_masks(window, info)} if masking else {}
            actions, state = learner.predict(observations, task_id, state, **allowed)
            observations, rewards, terminated, truncated, info = window.step(np.asarray(actions))
            total += float(rewards[0])
            if terminated[0] or truncated[0]:
                return Episode(seed, total, True)
        return Episode(seed, total, False)

    def _task_id(self, experience: Experience) -> int | None:
        return experience.task_id if self.trainer.stream.visibility.at_evaluation else None


def load_policy(run: Run) -> Policy:
    """Builds a run's learner from its config and loads its newest checkpoint, on the CPU.

    Raises:
        UnsupportedError: it learned from data, not from environments.
        RunFolderError: the config cannot be read.
        CheckpointError: there is no checkpoint that is whole.
    """
    restored = restore(run)
    if restored.trainer.stream.spec.kind != "environment":
        raise UnsupportedError(f"{run.path} learned from data; only what acts in environments can be watched")
    return Policy(restored.experiment, restored.trainer)
