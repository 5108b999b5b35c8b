"""Images of a learner at a boundary; computing them does not affect training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from rlcl.errors import UnseenTaskError, UnsupportedError
from rlcl.evaluation.episode_video import record_episode
from rlcl.evaluation.measures import arrays_of, environment_of
from rlcl.evaluation.network_activity import NetworkActivity, host_of
from rlcl.registry import name_of
from rlcl.seeding import preserved_global_state
from rlcl.sinks.labels import experience_label
from rlcl.sinks.tensorboard.pictures import Array, Picture, animated_gif, image_shape, tile_rows, to_pixels
from rlcl.training.trainer import Trainer
from rlcl.types import ArraySource, Batch, Experience, Generating, Representing, methods_of

__all__ = ["Embedding", "LearnerImages", "spread_indices"]

MAX_EXPERIENCES = 8  # experiences in one image, and videos at the end of the stream
GENERATED_ROWS = 4
FRAME_INTERVAL = 2  # env steps between successive frames
EMBEDDING_WIDTH = 64  # columns of an embedding
NOISE_SEED = 0  # of generated inputs: the same codes at each boundary make them comparable


def spread_indices(total: int, count: int) -> list[int]:
    """Return at most ``count`` of the indices 0..total-1, evenly spaced and including the last."""
    return (
        sorted({(k + 1) * total // count - 1 for k in range(min(count, total))}) if count < total else [*range(total)]
    )


@frozen(eq=False)
class Embedding:
    """The learner's representations of test inputs.

    Args:
        vectors: (N, K) float32, K at most 64.
        labels: (N,) names of classes; empty strings without classes.
        experiences: (N,) labels of the inputs' experiences.
        images: (N, height, width, 3) uint8; None if inputs are not images.
    """

    vectors: Tensor
    labels: tuple[str, ...]
    experiences: tuple[str, ...]
    images: Array | None


@frozen(eq=False)
class LearnerImages:
    """Images and embeddings of a trainer's learner.

    Args:
        trainer: trainer at a boundary, outside of an update.
        images: inputs per experience beside their reconstructions, and columns of generated inputs.
        points: test inputs in the projector, over all experiences.
        frames: maximum number of frames in the video of an episode; a frame is recorded every two env steps.
    """

    trainer: Trainer
    images: int
    points: int
    frames: int

    def pictures(self, trained_on: int) -> Mapping[str, Picture]:
        """Return images by tag.

        Args:
            trained_on: index of the experience that has finished.
        """
        with preserved_global_state():
            if self.trainer.stream.spec.kind == "environment":
                return dict(self._videos(trained_on)) if self.frames else {}
            return {} if not self.images else {**self._reconstructions(), **dict(self._generated())}

    def embedding(self) -> Embedding | None:
        """Return an embedding of test inputs, or None if the learner has no representation of inputs."""
        if not self.points or self.trainer.stream.spec.kind == "environment":
            return None
        with preserved_global_state():
            return self._embedding()

    # Reconstructions and generated inputs.

    @property
    def _shape(self) -> tuple[int, int, int] | None:
        """Shape of encoded inputs as images; None if they are not images."""
        observation = self.trainer.stream.spec.observation_shape
        encoded = self.trainer.encoder.shape(observation)
        shape, features = image_shape(encoded, observation), torch.Size(encoded).numel()
        return shape if shape is not None and torch.Size(shape).numel() == features else None

    def _originals(self, count: int) -> Iterator[tuple[Experience, Tensor, Tensor]]:
        """Yield some experiences with a few of their test inputs, raw and encoded."""
        experiences = self.trainer.stream.evaluated
        for index in spread_indices(len(experiences), MAX_EXPERIENCES):
            x = _subsample(arrays_of(experiences[index], self.trainer.evaluation), count).read()[0]
            yield experiences[index], x, self.trainer.encoder.encode(x).flatten(1).cpu()

    def _reconstructions(self) -> Mapping[str, Picture]:
        learner: Any = self.trainer.learner
        shape = self._shape
        if getattr(learner, "kind", "") != "reconstruction" or shape is None:
            return {}
        pairs: list[tuple[Experience, Tensor, Tensor]] = []
        for experience, x, original in self._originals(self.images):
            try:
                reconstruction = torch.as_tensor(learner.predict(x, self._task(experience))[0])
            except UnseenTaskError:
                continue
            if reconstruction.shape == original.shape:
                pairs.append((experience, original, reconstruction))
        if not pairs:
            return {}
        low, high = _range([original for _, original, _ in pairs])
        rows = []
        for experience, original, reconstruction in pairs:
            rows.append((experience_label(experience.index, experience.name), to_pixels(original, shape, low, high)))
            rows.append(("reconstructed", to_pixels(reconstruction, shape, low, high)))
        return {"learner/reconstructions": tile_rows(rows)}

    def _generated(self) -> Iterator[tuple[str, Picture]]:
        learner: Any = self.trainer.learner
        shape, columns = self._shape, self.images
        generators = [part for part in (learner, *methods_of(learner)) if isinstance(part, Generating)]
        if shape is None or not generators:
            return
        low, high = _range([original for _, _, original in self._originals(columns)])
        for generator in generators:
            generated = generator.generated(GENERATED_ROWS * columns, torch.Generator().manual_seed(NOISE_SEED))
            if generated is not None:
                tiles = to_pixels(generated, shape, low, high)
                rows = [("", tiles[r * columns : (r + 1) * columns]) for r in range(GENERATED_ROWS)]
                kind = "learner" if generator is learner else "method"
                yield f"learner/generated by {name_of(kind, generator)}", tile_rows(rows)

    # Videos.

    def _videos(self, trained_on: int) -> Iterator[tuple[str, Picture]]:
        """Yield a video of the experience that has finished; at the end of the stream, also videos of the others."""
        experiences = self.trainer.stream.evaluated
        visited = self.trainer.stream.visited
        last = trained_on == len(self.trainer.stream) - 1
        indices = {*spread_indices(len(experiences), MAX_EXPERIENCES)} if last or not visited else set()
        for index in sorted(indices | ({visited[trained_on]} if visited else set())):
            experience = self.trainer.present(experiences[index])
            source = environment_of(experience, self.trainer.evaluation)
            video = record_episode(self.trainer.learner, source, self._task(experience), self.frames, FRAME_INTERVAL)
            if video is not None:
                captions = [f"return {value:.4g}" for value in video.returns]
                label = experience_label(experience.index, experience.name)
                yield f"episode/{label}", animated_gif(video.frames, captions)

    # The projector.

    def _embedding(self) -> Embedding | None:
        experiences = self.trainer.stream.evaluated
        indices = spread_indices(len(experiences), self.points)
        vectors: list[Tensor] = []
        inputs: list[Tensor] = []
        labels: list[str] = []
        names: list[str] = []
        for index in indices:
            experience = experiences[index]
            rows = _subsample(arrays_of(experience, self.trainer.evaluation), max(self.points // len(indices), 1))
            x, y = rows.read()
            try:
                representation = self._representation(x, self._task(experience))
            except UnseenTaskError:
                continue
            if representation is None:
                return None
            vectors.append(representation)
            inputs.append(x)
            labels += self._labels(y, len(x))
            names += [experience_label(experience.index, experience.name)] * len(x)
        if not vectors:
            return None
        return Embedding(_reduce_width(torch.cat(vectors)), tuple(labels), tuple(names), _images(torch.cat(inputs)))

    def _representation(self, x: Tensor, task_id: int | None) -> Tensor | None:
        """Return (N, K) representations of raw inputs: the learner's own, or a classifier's last hidden layer."""
        learner: Any = self.trainer.learner
        if isinstance(learner, Representing):
            return torch.as_tensor(learner.represent(x, task_id)).float().flatten(1).cpu()
        try:
            host = host_of(learner)
            if host.kind != "categorical":
                return None
            learner.predict(x[:1], task_id)  # raises if there is no head for the task yet
            device = next(host.modules[host.primary].parameters()).device
            ids = None if task_id is None else torch.full((len(x),), task_id, device=device)
            return NetworkActivity(host, Batch(self.trainer.encoder.encode(x).to(device), None, ids)).features.cpu()
        except UnsupportedError:  # the learner has no network, or one without a hidden layer
            return None

    def _labels(self, y: Tensor | None, count: int) -> Sequence[str]:
        names = self.trainer.stream.spec.class_names
        if y is None or not self.trainer.stream.spec.classes:
            return [""] * count
        return [names[k] if names else str(k) for k in y.tolist()]

    def _task(self, experience: Experience) -> int | None:
        return experience.task_id if self.trainer.stream.visibility.at_evaluation else None


def _subsample(source: ArraySource, count: int) -> ArraySource:
    """Return at most ``count`` rows of a source, evenly spaced."""
    return source.subset(torch.linspace(0, len(source) - 1, min(len(source), count)).long())


def _range(tensors: Sequence[Tensor]) -> tuple[float, float]:
    return min(float(t.min()) for t in tensors), max(float(t.max()) for t in tensors)


def _reduce_width(vectors: Tensor) -> Tensor:
    """Return (N, K) vectors with at most EMBEDDING_WIDTH columns: wider ones are reduced to principal components."""
    if vectors.shape[1] <= EMBEDDING_WIDTH:
        return vectors
    centered = vectors - vectors.mean(0)
    left, sizes, _ = torch.linalg.svd(centered, full_matrices=False)
    components: Tensor = left[:, :EMBEDDING_WIDTH] * sizes[:EMBEDDING_WIDTH]
    return components


def _images(x: Tensor) -> Array | None:
    shape = image_shape(tuple(x.shape[1:]))
    return None if shape is None else to_pixels(x.flatten(1), shape, *_range([x]))
