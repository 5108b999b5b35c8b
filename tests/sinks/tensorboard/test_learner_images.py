"""Arrays as pictures, and what a learner can show of itself."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from harness import autoencoder, classifier, digit_stream, regression_stream, regressor
from PIL import Image
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from rlcl.encoders.flatten import Flatten
from rlcl.encoders.pca import Pca
from rlcl.sinks.tensorboard.learner_images import Embedding, LearnerImages, _reduce_width, spread_indices
from rlcl.sinks.tensorboard.pictures import animated_gif, image_shape, sprite, tile_rows, to_pixels
from rlcl.sinks.tensorboard.projector import write_embedding
from rlcl.training.trainer import Trainer


@pytest.mark.parametrize(
    ("total", "count", "expected"), [(5, 10, [0, 1, 2, 3, 4]), (5, 2, [1, 4]), (10, 3, [2, 5, 9]), (4, 0, [])]
)
def test_places_are_evenly_spread_and_the_last_is_among_them(total: int, count: int, expected: list[int]) -> None:
    assert expected == spread_indices(total, count)


def test_what_is_an_image() -> None:
    assert (1, 8, 8) == image_shape((64,), (8, 8))
    assert (3, 32, 32) == image_shape((3, 32, 32), (1, 8, 8))
    assert image_shape((64,), (4, 84, 84), (3, 2, 2)) is None


def test_black_and_white_are_as_told_and_the_rest_is_cut_off() -> None:
    x = torch.tensor([[-1.0, 0.0, 0.5, 1.0, 3.0, float("nan"), 0.0, 0.0, 0.0]])
    shades = to_pixels(x, (1, 3, 3), 0.0, 1.0)
    assert (1, 3, 3, 3) == shades.shape
    assert [0, 0, 128, 255, 255, 0, 0, 0, 0] == shades[0, :, :, 0].flatten().tolist()


def test_channels_come_last() -> None:
    x = torch.zeros(1, 3, 3, 3)
    x[0, 2] = 1.0
    assert [0, 0, 255] == to_pixels(x.flatten(1), (3, 3, 3), 0, 1)[0, 0, 0].tolist()


def test_small_images_are_enlarged_by_whole_factors() -> None:
    page = Image.open(io.BytesIO(tile_rows([("", np.zeros((2, 10, 20, 3), np.uint8))]).content))
    assert (2 * (20 * 5 + 2), 10 * 5 + 2) == page.size  # five times 10 are the first 48 or more


def test_a_sprite_is_a_square_in_rows() -> None:
    shades = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.full((1, 4, 4, 3), 50, np.uint8)
    page = np.asarray(Image.open(io.BytesIO(sprite(shades, 4).content)))
    assert (12, 12, 3) == page.shape
    assert [[0, 50, 100], [150, 200, 255]] == page[::4, ::4, 0][:2].tolist()  # empty places are white


def test_films_are_shrunk_and_captioned() -> None:
    frames = [np.full((100, 480, 3), shade, np.uint8) for shade in (0, 255)]
    film = animated_gif(frames, ["", "return 7"])
    image = Image.open(io.BytesIO(film.content))
    assert (240, 50) == image.size == (film.width, film.height)
    assert 2 == image.n_frames
    image.seek(1)
    assert np.asarray(image.convert("L")).min() < 50  # black letters on the white frame


def exhibition(learner: Any, stream: Any = None, encoder: Any = None, **board: Any) -> LearnerImages:
    settings = {} if encoder is None else {"encoder": encoder}
    trainer = Trainer(learner, stream or digit_stream(), **settings)
    trainer.fit()
    return LearnerImages(trainer, **{"images": 8, "points": 300, "frames": 100, **board})


def test_a_flattened_image_is_still_shown_as_one() -> None:
    assert ["learner/reconstructions"] == list(exhibition(autoencoder(), encoder=Flatten()).pictures(1))


def test_what_is_encoded_beyond_recognition_is_not_shown_but_embedded() -> None:
    shown = exhibition(autoencoder(), encoder=Pca(components=6), points=20)
    assert {} == shown.pictures(1)
    embedding = shown.embedding()
    assert embedding is not None
    assert (20, 4) == tuple(embedding.vectors.shape)
    assert (20, 8, 8, 3) == embedding.images.shape  # of the inputs as they came


def test_nothing_is_shown_where_that_is_asked_for() -> None:
    shown = exhibition(autoencoder(), images=0, points=0)
    assert {} == shown.pictures(1)
    assert shown.embedding() is None


def test_a_learner_of_numbers_shows_nothing() -> None:
    shown = exhibition(regressor(), regression_stream())
    assert {} == shown.pictures(1)
    assert shown.embedding() is None


def test_labels_are_of_the_embedded_inputs() -> None:
    stream = digit_stream()
    shown = exhibition(classifier(), stream, points=20)
    embedding = shown.embedding()
    expected = [str(int(y)) for e in stream for y in e.test.targets]  # five of each class, ten of each experience
    assert expected == list(embedding.labels)
    assert ["00 digits 0-1"] * 10 + ["01 digits 2-3"] * 10 == list(embedding.experiences)


def test_wide_representations_keep_their_distances_to_64_components() -> None:
    plane = torch.randn(30, 2, generator=torch.Generator().manual_seed(0)) @ torch.eye(2, 100)
    narrow = _reduce_width(plane)
    assert (30, 30) == tuple(narrow.shape)  # no more components than points
    exact = {"compute_mode": "donot_use_mm_for_euclid_dist"}
    torch.testing.assert_close(torch.cdist(plane, plane, **exact), torch.cdist(narrow, narrow, **exact))


def test_each_moment_in_the_projector_has_its_own_inputs(tmp_path: Path) -> None:
    def shown(*labels: str) -> Embedding:
        return Embedding(torch.zeros(len(labels), 2), labels, ("a\tb",) * len(labels), None)

    write_embedding(tmp_path, "first", 5, shown("0"))
    write_embedding(tmp_path, "second", 7, shown("0", "1"))
    write_embedding(tmp_path, "second", 7, shown("0", "2"))  # a run that goes on repeats it
    config = text_format.Parse((tmp_path / "projector_config.pbtxt").read_text(), ProjectorConfig())
    assert ["first", "second"] == [e.tensor_name for e in config.embeddings]
    tables = [(tmp_path / e.metadata_path).read_text() for e in config.embeddings]
    assert ["label\texperience\n0\ta b\n", "label\texperience\n0\ta b\n2\ta b\n"] == tables
    assert "0\t0\n0\t0\n" == (tmp_path / config.embeddings[1].tensor_path).read_text()
