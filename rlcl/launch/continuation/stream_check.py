"""Check that a stream starts with the experiences of another stream."""

from __future__ import annotations

import hashlib

import attrs
from torch import Tensor

from rlcl.errors import UnsupportedError
from rlcl.streams.stream import Stream
from rlcl.types import Experience, Source

__all__ = ["check_budgets_continue", "check_stream_continues"]

SPEC = ("kind", "observation_shape", "targets", "columns", "missing")


def check_stream_continues(old: Stream, new: Stream) -> None:
    """Check that the first experiences of a stream are those of another stream.

    Args:
        old: the stream that a run was trained on.
        new: the stream that continues it, with at least as many experiences.

    Raises:
        UnsupportedError: the streams differ; the message contains the first difference.
    """
    if "hidden" in (old.visibility.boundaries, new.visibility.boundaries):
        raise UnsupportedError(
            "stream.visibility.boundaries: hidden: without known boundaries no experience can be continued; start a "
            "new run"
        )
    old_spec, new_spec = ({**attrs.asdict(s.spec, recurse=False), "visibility": s.visibility} for s in (old, new))
    for key in ("visibility", *SPEC):
        if new_spec[key] != old_spec[key]:
            raise UnsupportedError(
                f"stream: its {key} is {new_spec[key]}, and the run had {old_spec[key]}; restore the former value"
            )
    if len(new) < len(old):
        raise UnsupportedError(
            f"stream: it has {len(new)} experiences, and the run was trained on {len(old)}; add experiences at the end"
        )
    for old_experiences, new_experiences in ((old.experiences, new.experiences), (old.evaluated, new.evaluated)):
        for old_experience, new_experience in zip(old_experiences, new_experiences, strict=False):
            _check_equal(old_experience, new_experience)


def check_budgets_continue(old: Stream, new: Stream) -> None:
    """Check that the stream changes the budget of no experience except for the last one, if none is added after it.

    Raises:
        UnsupportedError: the budget of another experience differs.
    """
    finished = old.experiences if len(new) > len(old) else old.experiences[:-1]
    for old_experience, new_experience in zip(finished, new.experiences, strict=False):
        if new_experience.budget != old_experience.budget:
            raise UnsupportedError(
                f"stream: experience {old_experience.index} ({old_experience.name}) has the budget "
                f"{new_experience.budget}, and was trained with {old_experience.budget}; restore the former one"
            )


def _check_equal(old: Experience, new: Experience) -> None:
    where = f"stream: experience {old.index}"
    remedy = "a continued run may only append experiences; restore the former ones"
    for key, old_value, new_value in (("name", old.name, new.name), ("task id", old.task_id, new.task_id)):
        if new_value != old_value:
            raise UnsupportedError(f"{where} has the {key} {new_value}, and had {old_value}; {remedy}")
    for split, old_source, new_source in (
        ("train", old.train, new.train),
        ("validation", old.validation, new.validation),
        ("test", old.test, new.test),
    ):
        if _fingerprint(old_source) != _fingerprint(new_source):
            raise UnsupportedError(f"{where} ({old.name}) has other {split} data than in the run; {remedy}")


def _fingerprint(source: Source | None) -> str:
    """Compute the SHA-256 of a source's rows, or of the settings of its environments; empty for None.

    For inputs on disk, the names and sizes of the files and the row indices are hashed instead of the content.
    """
    digest = hashlib.sha256()
    if source is None:
        return ""
    if source.kind == "environment":
        recipe = f"{source.recipe} {source.num_envs} {source.seed}"
        return hashlib.sha256(recipe.encode()).hexdigest()
    arrays: tuple[Tensor | None, ...]
    if isinstance(source.inputs, Tensor):
        arrays = source.read()
    else:
        digest.update(source.inputs.identity.encode())
        arrays = (source.indices, source.targets)
    for array in arrays:
        if array is not None:
            digest.update(repr((tuple(array.shape), str(array.dtype))).encode())
            digest.update(array.contiguous().numpy().data)
    return digest.hexdigest()
