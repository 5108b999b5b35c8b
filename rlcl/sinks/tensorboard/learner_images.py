"""What a learner shows of itself at a boundary; nothing that it learns from is changed by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from rlcl.errors import UnseenTaskError, UnsupportedError
from rlcl.evaluation.filming import film
from rlcl.evaluation.inside import Inside, host_of
from rlcl.evaluation.measures import arrays_of, environment_of
from rlcl.registry import name_of
from rlcl.seeding import preserved_global_state
from rlcl.sinks.tensorboard.pictures import Array, Picture, animated, image_shape, pixels, tiled
from rlcl.training.trainer import Trainer
from rlcl.types import ArraySource, Batch, Experience, Generating, Representing, methods_of

__all__ = ["Embedding", "Exhibition", "called", "spread"]

AT_ONCE = 8  # experiences in one picture, films at the end
GENERATED_ROWS = 4
EVERY = 2  # env steps from frame to frame
NAME = 40  # letters of an experience's name that are shown
WIDTH = 64  # columns of an embedding
NOISE_SEED = 0  # of generated inputs: the same codes at each boundary, so that they can be compared


def called(experience: Experience) -> str:
    """``02 digits 4-5``: sorts in the order of the stream."""
    return f"{experience.index:02d} {experience.name[:NAME]}"


def spread(total: int, count: int) -> list[int]:
    """At most ``count`` of the places 0..total-1, evenly spread, the last among them."""
    return (
        sorted({(k + 1) * total // count - 1 for k in range(min(count, total))}) if count < total else [*range(total)]
    )


@frozen(eq=False)
class Embedding:
    """Test inputs as the learner represents them.

    Args:
        vectors: (N, K) float32, K at most 64.
        labels: (N,) classes, or nothing, in words.
        experiences: (N,) names of the experiences that they are of.
        images: (N, height, width, 3) uint8, None where inputs are no images.
    """

    vectors: Tensor
    labels: tuple[str, ...]
    experiences: tuple[str, ...]
    images: Array | None


@frozen(eq=False)
class Exhibition:
    """What a trainer's learner can show.

    Args:
        trainer: with nothing in flight.
        images: inputs of an experience beside their reconstructions, and columns of generated ones.
        points: test inputs in the projector, over all experiences.
        frames: of a filmed episode, every second env step one.
    """

    trainer: Trainer
    images: int
    points: int
    frames: int

    def pictures(self, trained_on: int) -> Mapping[str, Picture]:
        """Pictures by their tags.

        Args:
            trained_on: index of the experience that has ended.
        """
        with preserved_global_state():
            if self.trainer.stream.spec.kind == "environment":
                return dict(self._films(trained_on)) if self.frames else {}
            return {} if not self.images else {**self._reconstructions(), **dict(self._generated())}

    def embedding(self) -> Embedding | None:
        """None where the learner has no representation of inputs."""
        if not self.points or self.trainer.stream.spec.kind == "environment":
            return None
        with preserved_global_state():
            return self._embedding()

    # Reconstructions and generated inputs.

    @property
    def _shape(self) -> tuple[int, int, int] | None:
        """Of inputs as images, in the encoder's scale; None where they are none."""
        observation = self.trainer.stream.spec.observation_shape
        encoded = self.trainer.encoder.shape(observation)
        shape, features = image_shape(encoded, observation), torch.Size(encoded).numel()
        return shape if shape is not None and torch.Size(shape).numel() == features else None

    def _originals(self, count: int) -> Iterator[tuple[Experience, Tensor, Tensor]]:
        """Some experiences, with a few of their test inputs, raw and encoded."""
        experiences = self.trainer.stream.evaluated
        for place in spread(len(experiences), AT_ONCE):
            x = _few(arrays_of(experiences[place], self.trainer.evaluation), count).read()[0]
            yield experiences[place], x, self.trainer.encoder.encode(x).flatten(1).cpu()

    def _reconstructions(self) -> Mapping[str, Picture]:
        learner: Any = self.trainer.learner
        shape = self._shape
        if getattr(learner, "kind", "") != "reconstruction" or shape is None:
            return {}
        pairs: list[tuple[Experience, Tensor, Tensor]] = []
        for experience, x, original in self._originals(self.images):
            try:
                made = torch.as_tensor(learner.predict(x, self._task(experience))[0])
            except UnseenTaskError:
                continue
            if made.shape == original.shape:
                pairs.append((experience, original, made))
        if not pairs:
            return {}
        low, high = _range([original for _, original, _ in pairs])
        rows = []
        for experience, original, made in pairs:
            rows.append((called(experience), pixels(original, shape, low, high)))
            rows.append(("reconstructed", pixels(made, shape, low, high)))
        return {"learner/reconstructions": tiled(rows)}

    def _generated(self) -> Iterator[tuple[str, Picture]]:
        learner: Any = self.trainer.learner
        shape, columns = self._shape, self.images
        makers = [maker for maker in (learner, *methods_of(learner)) if isinstance(maker, Generating)]
        if shape is None or not makers:
            return
        low, high = _range([original for _, _, original in self._originals(columns)])
        for maker in makers:
            made = maker.generated(GENERATED_ROWS * columns, torch.Generator().manual_seed(NOISE_SEED))
            if made is not None:
                tiles = pixels(made, shape, low, high)
                rows = [("", tiles[r * columns : (r + 1) * columns]) for r in range(GENERATED_ROWS)]
                kind = "learner" if maker is learner else "method"
                yield f"learner/generated by {name_of(kind, maker)}", tiled(rows)

    # Films.

    def _films(self, trained_on: int) -> Iterator[tuple[str, Picture]]:
        """Of the experience that has ended; at the stream's end of the others too, to see what is left of them."""
        experiences = self.trainer.stream.evaluated
        alike = len(experiences) == len(self.trainer.stream)
        last = trained_on == len(self.trainer.stream) - 1
        places = {*spread(len(experiences), AT_ONCE)} if last or not alike else set()
        for place in sorted(places | ({trained_on} if alike else set())):
            experience = experiences[place]
            source = environment_of(experience, self.trainer.evaluation)
            shot = film(self.trainer.learner, source, self._task(experience), self.frames, EVERY)
            if shot is not None:
                captions = [f"return {value:.4g}" for value in shot.returns]
                yield f"episode/{called(experience)}", animated(shot.frames, captions)

    # The projector.

    def _embedding(self) -> Embedding | None:
        experiences = self.trainer.stream.evaluated
        places = spread(len(experiences), self.points)
        vectors: list[Tensor] = []
        inputs: list[Tensor] = []
        labels: list[str] = []
        names: list[str] = []
        for place in places:
            experience = experiences[place]
            few = _few(arrays_of(experience, self.trainer.evaluation), max(self.points // len(places), 1))
            x, y = few.read()
            try:
                found = self._representation(x, self._task(experience))
            except UnseenTaskError:
                continue
            if found is None:
                return None
            vectors.append(found)
            inputs.append(x)
            labels += self._labels(y, len(x))
            names += [called(experience)] * len(x)
        if not vectors:
            return None
        return Embedding(_narrow(torch.cat(vectors)), tuple(labels), tuple(names), _images(torch.cat(inputs)))

    def _representation(self, x: Tensor, task_id: int | None) -> Tensor | None:
        """(N, K) of raw inputs: the learner's own, or the last hidden layer of a network that classifies."""
        learner: Any = self.trainer.learner
        if isinstance(learner, Representing):
            return torch.as_tensor(learner.represent(x, task_id)).float().flatten(1).cpu()
        try:
            host = host_of(learner)
            if host.kind != "categorical":
                return None
            learner.predict(x[:1], task_id)  # raises where there is no head for the task yet
            device = next(host.modules[host.primary].parameters()).device
            ids = None if task_id is None else torch.full((len(x),), task_id, device=device)
            return Inside(host, Batch(self.trainer.encoder.encode(x).to(device), None, ids)).features.cpu()
        except UnsupportedError:  # no network, or none with a hidden layer
            return None

    def _labels(self, y: Tensor | None, count: int) -> Sequence[str]:
        names = self.trainer.stream.spec.class_names
        if y is None or not self.trainer.stream.spec.classes:
            return [""] * count
        return [names[k] if names else str(k) for k in y.tolist()]

    def _task(self, experience: Experience) -> int | None:
        return experience.task_id if self.trainer.stream.visibility.at_evaluation else None


def _few(source: ArraySource, count: int) -> ArraySource:
    """At most so many rows of a source, evenly spaced."""
    return source.subset(torch.linspace(0, len(source) - 1, min(len(source), count)).long())


def _range(tensors: Sequence[Tensor]) -> tuple[float, float]:
    return min(float(t.min()) for t in tensors), max(float(t.max()) for t in tensors)


def _narrow(vectors: Tensor) -> Tensor:
    """(N, K): the first principal components where there are more columns than a browser likes."""
    if vectors.shape[1] <= WIDTH:
        return vectors
    centred = vectors - vectors.mean(0)
    left, sizes, _ = torch.linalg.svd(centred, full_matrices=False)
    components: Tensor = left[:, :WIDTH] * sizes[:WIDTH]
    return components


def _images(x: Tensor) -> Array | None:
    shape = image_shape(tuple(x.shape[1:]))
    return None if shape is None else pixels(x.flatten(1), shape, *_range([x]))
