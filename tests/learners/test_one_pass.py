"""Closed-form and clustering learners, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from attrs import frozen
from harness import prepared
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from rlcl.data.readers.scikit import Digits, Iris
from rlcl.data.sources import Data
from rlcl.errors import UnsupportedError
from rlcl.learners.supervised.nearest_mean import NearestMean
from rlcl.learners.supervised.streaming_lda import StreamingLda
from rlcl.learners.unsupervised.kmeans import KMeans
from rlcl.seeding import Seeds
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.streams.single import Single
from rlcl.streams.stream import Stream
from rlcl.training.trainer import Trainer
from rlcl.types import Budget, DataSet

ONCE = Budget(epochs=1)


@frozen
class Points(DataSet):
    """Two classes on a line, at 0 and 2, and at 10 and 14."""

    def load(self) -> Data:
        x = np.array([[0.0], [2.0], [10.0], [14.0]], dtype=np.float32)
        return Data(x, [0, 0, 1, 1], x, [0, 0, 1, 1], name="points")


def trained(learner: Any, stream: Stream) -> Any:
    learner = prepared(learner, stream)
    for experience in stream:
        for _ in learner.learn(experience):
            pass
    return learner


def test_the_nearest_mean_is_by_hand() -> None:
    learner = trained(NearestMean(), Single(data=Points()).make(Seeds(0), ONCE))
    # The means are 1 and 12: the border is at 6.5.
    assert [0, 0, 1, 1] == learner.predict(np.array([[-3.0], [6.4], [6.6], [99.0]]))[0].tolist()


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_streaming_lda_equals_lda_at_once(batch_size: int) -> None:
    data = Iris().load()
    stream = ClassIncremental(data=Iris(), experiences=3).make(Seeds(0), ONCE)
    learner = trained(StreamingLda(batch_size=batch_size, shrinkage=1e-9), stream)
    assert data.train_labels is not None
    lda = LinearDiscriminantAnalysis(solver="lsqr", priors=[1 / 3] * 3)
    lda.fit(data.train_inputs.double().numpy(), data.train_labels.numpy())
    expected = lda.predict(data.test_inputs.double().numpy()).tolist()
    assert expected == learner.predict(data.test_inputs)[0].tolist()


def test_the_pooled_covariance_is_by_hand() -> None:
    learner = trained(StreamingLda(batch_size=3), Single(data=Points()).make(Seeds(0), ONCE))
    # Within the classes: 1 + 1 about the mean 1, 4 + 4 about 12.
    assert [[pytest.approx(10.0)]] == learner.statistics()["scatter"].tolist()
    assert [[1.0], [12.0]] == learner.statistics()["means"].tolist()


@pytest.mark.parametrize("make", [NearestMean, StreamingLda])
def test_closed_form_learners_forget_nothing_of_their_statistics(make: Any) -> None:
    """The order of classes does not matter: the end is that of seeing them all at once."""
    ends = []
    for experiences in (1, 5):
        stream = ClassIncremental(data=Digits(), experiences=experiences).make(Seeds(0), ONCE)
        ends.append(trained(make(), stream).statistics())
    for name, value in ends[0].items():
        torch.testing.assert_close(value, ends[1][name], rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize(("make", "at_least"), [(NearestMean, 0.85), (StreamingLda, 0.93)])
def test_closed_form_learners_learn_digits_class_by_class(make: Any, at_least: float) -> None:
    stream = ClassIncremental(data=Digits(), experiences=5).make(Seeds(0), ONCE)
    outcome = Trainer(make(), stream).fit()
    assert at_least < outcome.metrics["accuracy.average"]


def test_one_pass_is_all_they_take() -> None:
    stream = Single(data=Points()).make(Seeds(0), Budget(epochs=2))
    with pytest.raises(UnsupportedError, match=r"nearest_mean needs a single pass; write budget: \{epochs: 1\}"):
        prepared(NearestMean(), stream)


def test_a_centre_is_the_mean_of_all_that_was_nearest() -> None:
    learner = trained(KMeans(clusters=2, batch_size=2), Single(data=Points()).make(Seeds(0), ONCE))
    # 0 and 2 become the centres and take themselves; 10 and 14 are nearest to 2: (2 + 10 + 14) / 3.
    assert [[0.0], [pytest.approx(26 / 3)]] == learner.statistics()["centres"].tolist()


def test_clusters_of_digits_agree_with_their_classes() -> None:
    stream = Single(data=Digits()).make(Seeds(0), ONCE)
    metrics = Trainer(KMeans(clusters=20, batch_size=32), stream).fit().metrics
    assert {"adjusted_rand.average", "mutual_information.average", "inertia.average"} <= set(metrics)
    assert 0.5 < metrics["mutual_information.average"] < 1
