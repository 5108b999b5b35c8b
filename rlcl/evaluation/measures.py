"""Measures of a predictor on one experience; their values are recorded under their names."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from attrs import field, frozen
from torch import Tensor

from rlcl.data.sources import read_chunks
from rlcl.errors import DivergenceError, UnseenTaskError, UnsupportedError
from rlcl.evaluation.episodes import Episodes, run_episodes
from rlcl.evaluation.metrics import UNKNOWN, Better, Span, check_span, sign_of
from rlcl.evaluation.plan import Plan
from rlcl.types import ArraySource, EnvironmentSource, Experience, Predictor, Source

__all__ = [
    "ACCURACY",
    "ADJUSTED_RAND",
    "EPISODE_LENGTH",
    "INERTIA",
    "LINEAR_PROBE",
    "MUTUAL_INFORMATION",
    "NEAREST_NEIGHBOURS",
    "NEGATIVE_BOUND",
    "RECONSTRUCTION_ERROR",
    "RETURN",
    "SCORE",
    "SQUARED_ERROR",
    "SUCCESS",
    "EpisodeMeasure",
    "Measure",
    "arrays_of",
    "environment_of",
    "measure_all",
    "source_of",
]

PROBE_ROWS = 2000  # maximum number of training examples of an experience that its linear probe is fitted on
PROBE_RIDGE = 1.0
NEIGHBOURS = 5
ARRAYS = frozenset({"labelled", "regression", "unlabelled"})
ALL = ARRAYS | {"environment"}
LABELLED = frozenset({"labelled"})


@frozen
class Measure:
    """A number that measures one predictor on one experience.

    Args:
        name: name of its records.
        function: function from predictor, experience, task id (None if hidden) and plan to the value, or to None if
            the value is not defined.
        better: ``higher`` or ``lower`` values; a loss, whose lower values are better, is negated in R.
        range: range of the values; unknown by default.
        share: whether it is a proportion of the test samples, so that their number determines its accuracy.
        kinds: kinds of stream for which it is defined; see :class:`rlcl.types.StreamSpec`.
        needs: method of the learner that it calls.
        undefined: reason for which its value may be None, for the warning.
        normalized: whether 0 and 1 are reference values that results may lie outside of. Metrics that are defined for
            shares clip its values to [0, 1].

    Raises:
        ValueError: ``better`` or ``range`` is not valid.
    """

    name: str
    function: Callable[[Any, Experience, int | None, Plan], float | None]
    better: Better = field(default="higher", kw_only=True)
    range: Span = field(default=UNKNOWN, kw_only=True)
    share: bool = field(default=False, kw_only=True)
    kinds: frozenset[str] = field(default=ALL, kw_only=True)
    needs: str = field(default="predict", kw_only=True)
    undefined: str = field(default="", kw_only=True)
    normalized: bool = field(default=False, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.better not in ("higher", "lower"):
            raise ValueError(f"better: expected higher or lower, got {self.better!r}")
        check_span(self.range)

    @property
    def sign(self) -> int:
        """1 if higher values are better, -1 if lower values are better; R contains the recorded values times it."""
        return sign_of(self.better)

    @property
    def display_name(self) -> str:
        """The name in texts, with spaces."""
        return self.name.replace("_", " ")


@frozen
class EpisodeMeasure(Measure):
    """A measure of whole episodes in an environment. All of them are computed from the same episodes.

    Args:
        function: function from :class:`rlcl.evaluation.episodes.Episodes` to the value, or to None if the value is not
            defined.
    """

    function: Callable[[Episodes], float | None]  # type: ignore[assignment]
    kinds: frozenset[str] = field(default=frozenset({"environment"}), kw_only=True)


def source_of(experience: Experience, plan: Plan) -> Source:
    """Return the source of the split in the plan, or the test set if there is no validation split."""
    if plan.split == "validation" and experience.validation is not None:
        return experience.validation
    assert experience.test is not None
    return experience.test


def measure_all(
    measures: Mapping[str, Measure], predictor: Any, experience: Experience, task_id: int | None, plan: Plan
) -> dict[str, float | None]:
    """Measure a predictor on one experience; episodes are run once for all measures of them.

    Args:
        measures: measures by the name of their records.
        predictor: a learner, or another object with its prediction methods.
        experience: the experience.
        task_id: index of the task, None if hidden.
        plan: the evaluation plan.

    Returns:
        The value of each measure: None if it is not defined, for example because the head of the task does not exist
        yet; NaN if the evaluated split is empty, so that R keeps the column.
    """
    source = source_of(experience, plan)
    if source.kind == "arrays" and not len(source):
        return dict.fromkeys(measures, math.nan)
    values: dict[str, float | None] = {}
    episodes: Episodes | None = None
    for name, measure in measures.items():
        try:
            if isinstance(measure, EpisodeMeasure):
                if episodes is None:
                    episodes = run_episodes(
                        predictor,
                        environment_of(experience, plan),
                        plan.episodes,
                        plan.episode_steps,
                        task_id,
                        plan.actions == "sampled",
                    )
                values[name] = measure.function(episodes)
            else:
                values[name] = measure.function(predictor, experience, task_id, plan)
                if values[name] is None and measure.undefined:
                    warnings.warn(f"{name} of {experience.name} is not defined: {measure.undefined}", stacklevel=2)
        except UnseenTaskError:
            values[name] = None
    return values


def arrays_of(experience: Experience, plan: Plan) -> ArraySource:
    """Return the source of the split in the plan, in a stream of arrays; see :func:`source_of`."""
    source = source_of(experience, plan)
    assert source.kind == "arrays"
    return source


def environment_of(experience: Experience, plan: Plan) -> EnvironmentSource:
    """Return the source of the split in the plan, in a stream of environments; see :func:`source_of`."""
    source = source_of(experience, plan)
    assert source.kind == "environment"
    return source


def accuracy(predictor: Predictor, experience: Experience, task_id: int | None, plan: Plan) -> float:
    """Compute the proportion of inputs whose predicted class is correct, in [0, 1]."""
    source = arrays_of(experience, plan)
    y, predicted = np.asarray(source.targets), _map_inputs(source, lambda x: predictor.predict(x, task_id)[0])
    if predicted.shape != y.shape:
        raise UnsupportedError(
            f"predict must return one class per input, with shape {y.shape}, but returned shape {predicted.shape}"
        )
    return float(np.mean(predicted == y))


def reconstruction_error(predictor: Any, experience: Experience, task_id: int | None, plan: Plan) -> float:
    """Compute the mean squared error of reconstructions of encoded inputs, over features and inputs; at least 0."""
    errors = _map_inputs(arrays_of(experience, plan), lambda x: predictor.reconstruction_error(x, task_id))
    return float(np.mean(errors, dtype=np.float64))


def squared_error(predictor: Predictor, experience: Experience, task_id: int | None, plan: Plan) -> float:
    """Compute the mean squared error of predictions, averaged over inputs and output dimensions; at least 0."""
    source = arrays_of(experience, plan)
    y, predicted = np.asarray(source.targets), _map_inputs(source, lambda x: predictor.predict(x, task_id)[0])
    if predicted.shape != y.shape:
        raise UnsupportedError(f"predict must return values of shape {y.shape}, but returned shape {predicted.shape}")
    return float(np.mean((predicted.astype(np.float64) - y) ** 2))


def negative_bound(predictor: Any, experience: Experience, task_id: int | None, plan: Plan) -> float:
    """Compute the mean negative evidence lower bound over inputs, in nats."""
    bounds = _map_inputs(arrays_of(experience, plan), lambda x: predictor.negative_bound(x, task_id))
    return float(np.mean(bounds, dtype=np.float64))


def adjusted_rand(predictor: Predictor, experience: Experience, task_id: int | None, plan: Plan) -> float:
    """Compute the adjusted Rand index of predicted clusters and classes, in [-0.5, 1]. Source: Hubert & Arabie 1985."""
    from sklearn.metrics import adjusted_rand_score

    source = arrays_of(experience, plan)
    clusters = _map_inputs(source, lambda x: predictor.predict(x, task_id)[0])
    return float(adjusted_rand_score(np.asarray(source.targets), clusters))


def mutual_information(predictor: Predictor, experience: Experience, task_id: int | None, plan: Plan) -> float:
    """Compute the mutual information of predicted clusters and classes, divided by their mean entropy, in [0, 1].

    Source: Vinh et al. 2010, Information theoretic measures for clusterings comparison.
    """
    from sklearn.metrics import normalized_mutual_info_score

    source = arrays_of(experience, plan)
    clusters = _map_inputs(source, lambda x: predictor.predict(x, task_id)[0])
    return float(normalized_mutual_info_score(np.asarray(source.targets), clusters))


def inertia(predictor: Any, experience: Experience, task_id: int | None, plan: Plan) -> float:
    """Compute the mean squared distance of encoded inputs to their nearest cluster centre; at least 0."""
    return float(np.mean(_map_inputs(arrays_of(experience, plan), predictor.inertia), dtype=np.float64))


def linear_probe(predictor: Any, experience: Experience, task_id: int | None, plan: Plan) -> float | None:
    """Compute the accuracy in [0, 1] of a ridge classifier on the standardized representation.

    The classifier is fitted on at most 2,000 evenly spaced training inputs of the same experience. The result is None
    if they have a single class.

    Source: Alain & Bengio 2017, Understanding intermediate layers using linear classifier probes.
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    test, train = arrays_of(experience, plan), _probe_rows(experience)
    if len(np.unique(np.asarray(train.targets))) < 2:
        return None
    probe = make_pipeline(StandardScaler(), RidgeClassifier(alpha=PROBE_RIDGE))
    probe.fit(_representation(predictor, train, task_id), np.asarray(train.targets))
    return float(probe.score(_representation(predictor, test, task_id), np.asarray(test.targets)))


def nearest_neighbours(predictor: Any, experience: Experience, task_id: int | None, plan: Plan) -> float:
    """Compute the accuracy in [0, 1] of the majority class of the 5 nearest training inputs, by cosine distance.

    The distances are between representations. The training inputs are at most 2,000 evenly spaced ones of the same
    experience.

    Source: Wu et al. 2018, Unsupervised feature learning via non-parametric instance discrimination, section 3.4.
    """
    from sklearn.neighbors import KNeighborsClassifier

    test, train = arrays_of(experience, plan), _probe_rows(experience)
    votes = KNeighborsClassifier(n_neighbors=min(NEIGHBOURS, len(train)), metric="cosine")
    votes.fit(_representation(predictor, train, task_id), np.asarray(train.targets))
    return float(votes.score(_representation(predictor, test, task_id), np.asarray(test.targets)))


def _map_inputs(source: ArraySource, function: Callable[[Tensor], Any]) -> np.ndarray[Any, Any]:
    """Return the results (N, ...) of a function for all inputs of a source; streamed sources are read in chunks."""
    return np.concatenate([np.asarray(function(x)) for x, _ in read_chunks(source)])


def _representation(predictor: Any, source: ArraySource, task_id: int | None) -> np.ndarray[Any, Any]:
    """Return the representations (N, F) of all inputs of a source.

    Raises:
        DivergenceError: a value is not finite.
    """
    features = _map_inputs(source, lambda x: predictor.represent(x, task_id)).astype(np.float64)
    if not np.isfinite(features).all():
        raise DivergenceError("the learner's representation is not finite; lower learner.optimizer.lr")
    return features


def _probe_rows(experience: Experience) -> ArraySource:
    """Return at most :data:`PROBE_ROWS` evenly spaced training examples of an experience."""
    train = experience.arrays
    rows = np.linspace(0, len(train) - 1, min(len(train), PROBE_ROWS)).astype(np.int64)
    return train.subset(torch.from_numpy(rows))


def mean_return(episodes: Episodes) -> float:
    """Compute the mean undiscounted return."""
    return float(np.mean(episodes.returns))


def mean_score(episodes: Episodes) -> float | None:
    """Compute the mean return, scaled so that the ends of the task's ``score_range`` are 0 and 1.

    The result is None if the task has no ``score_range``. Scores are then computed when the run has finished, with the
    return of random actions as 0 and that of a single-task run as 1; see ``evaluation.baselines``.

    Source of the normalization: Mnih et al. 2015, Human-level control through deep reinforcement learning, table 2.
    """
    if episodes.score_range is None:
        return None
    low, high = episodes.score_range
    return (mean_return(episodes) - low) / (high - low)


def success_rate(episodes: Episodes) -> float | None:
    """Compute the share of successful episodes, in [0, 1]; None if the environment reports no success."""
    return None if np.isnan(episodes.successes).all() else float(np.nanmean(episodes.successes))


def mean_length(episodes: Episodes) -> float:
    """Compute the mean number of env steps in an episode."""
    return float(np.mean(episodes.lengths))


LOSS: Span = (0.0, math.inf)
SHARE: Span = (0.0, 1.0)

ACCURACY = Measure("accuracy", accuracy, range=SHARE, share=True, kinds=LABELLED)
RECONSTRUCTION_ERROR = Measure(
    "reconstruction_error", reconstruction_error, better="lower", range=LOSS, kinds=ARRAYS, needs="reconstruction_error"
)
SQUARED_ERROR = Measure("squared_error", squared_error, better="lower", range=LOSS, kinds=frozenset({"regression"}))
NEGATIVE_BOUND = Measure("negative_bound", negative_bound, better="lower", kinds=ARRAYS, needs="negative_bound")
ADJUSTED_RAND = Measure("adjusted_rand", adjusted_rand, range=(-0.5, 1.0), kinds=LABELLED)
MUTUAL_INFORMATION = Measure("mutual_information", mutual_information, range=SHARE, kinds=LABELLED)
INERTIA = Measure("inertia", inertia, better="lower", range=LOSS, kinds=ARRAYS, needs="inertia")
ONE_CLASS = "its training examples have one class"
LINEAR_PROBE = Measure(
    "linear_probe", linear_probe, range=SHARE, share=True, kinds=LABELLED, needs="represent", undefined=ONE_CLASS
)
NEAREST_NEIGHBOURS = Measure(
    "nearest_neighbours", nearest_neighbours, range=SHARE, share=True, kinds=LABELLED, needs="represent"
)
RETURN = EpisodeMeasure("return", mean_return)
SUCCESS = EpisodeMeasure("success", success_rate, range=SHARE)
SCORE = EpisodeMeasure("score", mean_score, normalized=True)
EPISODE_LENGTH = EpisodeMeasure("episode_length", mean_length, range=LOSS)
