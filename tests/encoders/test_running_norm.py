"""Running statistics by hand, and where they are refused."""

from __future__ import annotations

import pytest
import torch
from harness import classifier, digit_stream
from stable_baselines3.common.running_mean_std import RunningMeanStd

from rlcl.encoders.compose import Compose
from rlcl.encoders.flatten import Flatten
from rlcl.encoders.running_norm import RunningMoments, RunningNorm
from rlcl.encoders.scale import Scale
from rlcl.errors import UnsupportedError
from rlcl.training.trainer import Trainer


def test_moments_of_everything_seen() -> None:
    # (1, 3), then (5, 5, 8): mean 22 / 5 = 4.4, variance 27.2 / 5 = 5.44, but for 0.0001 samples of (0, 1).
    moments = RunningMoments()
    moments.update(torch.tensor([[1.0], [3.0]]).numpy())
    moments.update(torch.tensor([[5.0], [5.0], [8.0]]).numpy())
    assert pytest.approx([4.4], rel=1e-4) == moments.mean.tolist()
    assert pytest.approx([5.44], rel=1e-3) == moments.var.tolist()
    assert pytest.approx(5.0001) == moments.count


def test_moments_equal_those_of_stable_baselines3_bit_for_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = RunningMoments(), RunningMeanStd(shape=(3,))
    for rows in (1, 7, 2, 30):
        values = (torch.randn(rows, 3, generator=generator) * rows).numpy()
        ours.update(values)
        theirs.update(values)
    assert (theirs.mean.tolist(), theirs.var.tolist(), theirs.count) == (
        ours.mean.tolist(),
        ours.var.tolist(),
        ours.count,
    )


def test_observations_are_divided_by_their_deviation_and_clipped() -> None:
    encoder = RunningNorm(clip=2.0)
    encoder.fit(torch.tensor([[1.0], [3.0]]))  # mean 2, deviation 1, but for the prior
    actual = encoder.encode(torch.tensor([[2.0], [1.0], [3.5], [50.0]])).flatten().tolist()
    assert pytest.approx([0.0, -1.0, 1.5, 2.0], abs=1e-3) == actual


def test_observations_may_be_left_as_they_are() -> None:
    encoder = RunningNorm(observations=False)
    encoder.fit(torch.tensor([[1.0], [3.0]]))
    assert [[7.0]] == encoder.encode(torch.tensor([[7]])).tolist()


def test_over_arrays_statistics_run_from_experience_to_experience() -> None:
    stream, encoder = digit_stream(), RunningNorm(rewards=False)
    Trainer(classifier(), stream, encoder=Compose((encoder, Flatten()))).fit()
    seen = torch.cat([experience.train.read()[0] for experience in stream]).double()  # type: ignore[union-attr]
    assert pytest.approx(len(seen), abs=1e-3) == encoder.observed.count
    torch.testing.assert_close(torch.from_numpy(encoder.observed.mean), seen.mean(0), rtol=1e-4, atol=1e-5)


def test_arrays_have_no_rewards() -> None:
    for encoder in (RunningNorm(), Compose((Scale(), RunningNorm()))):
        with pytest.raises(UnsupportedError, match=r"rewards: true .* set rewards: false, or use standardize"):
            Trainer(classifier(), digit_stream(), encoder=encoder)
