"""Sources that are none of ours: whatever derives from the protocol serves streams, encoders and learners."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import pytest
import torch
from attrs import evolve, frozen
from harness import environment_stream
from torch import Tensor

from rlcl.data.environments.environment import Environment
from rlcl.data.sources import LabelledArrays, UnlabelledArrays
from rlcl.evaluation.measures import arrays_of, environment_of
from rlcl.evaluation.plan import Plan
from rlcl.learners.supervised.classifier import Classifier
from rlcl.seeding import Seeds
from rlcl.streams.joint import join_experiences
from rlcl.streams.stream import Stream, check_sources
from rlcl.streams.visibility import learner_view
from rlcl.training.trainer import Trainer
from rlcl.types import ArraySource, Budget, Experience, Record, Source, StreamSpec, Visibility


@frozen(eq=False)
class Counted(ArraySource):
    """Rows (i, -i) of the class i % 2, made when they are read."""

    kind: ClassVar[Literal["arrays"]] = "arrays"

    inputs: Tensor
    indices: Tensor | None = None
    transform: Callable[[Tensor], Tensor] | None = None
    streamed = False
    workers = 0
    task_ids = None

    @property
    def rows(self) -> Tensor:
        return self.inputs if self.indices is None else self.inputs[self.indices]

    @property
    def shared(self) -> tuple[Tensor, ...]:
        return (self.inputs,)

    @property
    def targets(self) -> Tensor:
        return self.rows % 2

    def __len__(self) -> int:
        return len(self.rows)

    def read(self) -> tuple[Tensor, Tensor]:
        return torch.stack([self.rows, -self.rows], 1).float(), self.targets

    def subset(self, rows: Tensor) -> Counted:
        return Counted(self.rows[rows])

    def viewing(self, indices: Tensor, tasks: Tensor | None = None) -> Counted:
        return evolve(self, indices=indices)

    def transformed(self, transform: Callable[[Tensor], Tensor]) -> Counted:
        return evolve(self, transform=transform)

    def without_task_ids(self) -> Counted:
        return self


def counted_stream() -> Stream:
    source: Source = Counted(torch.arange(40))
    experience = Experience(0, "counted", source, source, Budget(epochs=1), 0)
    return Stream((experience,), StreamSpec("labelled", (2,), classes=2, task_classes=((0, 1),)))


def test_a_source_of_ones_own_is_split_learned_and_evaluated() -> None:
    stream = counted_stream().with_validation(0.25, Seeds(0))
    check_sources(stream)
    assert [30, 10, 40] == [len(source) for _, source in stream[0].splits if source.kind == "arrays"]
    trainer = Trainer(Classifier(batch_size=10), stream)
    records = [item for item in trainer.events() if isinstance(item, Record)]
    assert {"accuracy"} <= {record.metric for record in records}


def test_a_protocol_shows_neither_test_data_nor_hidden_task_ids() -> None:
    source = LabelledArrays(torch.zeros(3, 1), torch.tensor([0, 1, 0]), tasks=torch.tensor([0, 1, 1]))
    experience = Experience(0, "two tasks", source, source, Budget(epochs=1), 0, validation=source)
    stream = Stream((experience,), StreamSpec("labelled", (1,), classes=2, task_classes=((0,), (1,))))
    hidden, shown = learner_view(stream)[0], learner_view(stream.changed(visibility=Visibility(task_ids="visible")))[0]
    assert (None, None) == (hidden.test, hidden.task_id)
    assert [None, None] == [s.task_ids for _, s in hidden.splits if s.kind == "arrays"]
    assert [0, 1, 1] == shown.arrays.task_ids.tolist()  # type: ignore[union-attr]


def test_a_view_of_other_rows_keeps_what_is_shared() -> None:
    source = LabelledArrays(torch.arange(4.0)[:, None], torch.tensor([0, 1, 2, 3]), torch.tensor([0]))
    other = source.viewing(torch.tensor([3, 1]), torch.tensor([5, 6, 7, 8]))
    assert [[3.0], [1.0]] == other.read()[0].tolist()
    assert [3, 1] == other.targets.tolist()
    assert [8, 6] == other.task_ids.tolist()  # type: ignore[union-attr]
    assert source.shared == other.shared
    assert (source.inputs,) == UnlabelledArrays(source.inputs).viewing(torch.tensor([0])).shared


def test_joined_sources_of_ones_own_keep_their_task() -> None:
    parts = [Experience(i, "", Counted(torch.arange(n)), None, Budget(epochs=1), i) for i, n in enumerate((2, 3))]
    parts = [evolve(part, test=part.train) for part in parts]
    train = join_experiences(parts, Budget(epochs=1)).arrays
    assert [0, 0, 1, 1, 1] == train.task_ids.tolist()  # type: ignore[union-attr]
    assert [0, 1, 0, 1, 0] == train.targets.tolist()  # type: ignore[union-attr]


def test_the_kind_of_a_source_decides_what_it_is_taken_for() -> None:
    cartpole = environment_stream(Environment("CartPole-v1"), budget=1)[0]
    assert cartpole.train is cartpole.environment
    assert cartpole.test is environment_of(cartpole, Plan())
    with pytest.raises(AssertionError):
        _ = cartpole.arrays
    with pytest.raises(AssertionError):
        arrays_of(cartpole, Plan())


def test_an_environment_alone_is_one_in_this_process_with_further_arguments() -> None:
    many = Environment("CartPole-v1", {"sutton_barto_reward": True}, num_envs=3, vectorization="async")
    alone = many.alone(render_mode="rgb_array")
    assert (1, "sync") == (alone.num_envs, alone.vectorization)
    assert {"sutton_barto_reward": True, "render_mode": "rgb_array"} == alone.kwargs
