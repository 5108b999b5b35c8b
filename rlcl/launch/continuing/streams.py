"""Whether a stream begins with the experiences of another one."""

from __future__ import annotations

import hashlib

import attrs
from torch import Tensor

from rlcl.errors import UnsupportedError
from rlcl.streams.stream import Stream
from rlcl.types import Experience, Source

__all__ = ["check_beginning"]

SPEC = ("kind", "observation_shape", "targets", "columns", "missing")


def check_beginning(old: Stream, new: Stream) -> None:
    """Refuses a stream whose first experiences are not those of another one.

    Args:
        old: that a run was trained on.
        new: that continues it, with as many experiences or more.

    Raises:
        UnsupportedError: the first difference, with both sides.
    """
    if "hidden" in (old.visibility.boundaries, new.visibility.boundaries):
        raise UnsupportedError(
            "stream.visibility.boundaries: hidden, so that the learner never knew where an experience ends, and none "
            "can be continued; start a new run"
        )
    theirs, ours = ({**attrs.asdict(s.spec, recurse=False), "visibility": s.visibility} for s in (old, new))
    for key in ("visibility", *SPEC):
        if ours[key] != theirs[key]:
            raise UnsupportedError(
                f"stream: its {key} is {ours[key]}, and the run's was {theirs[key]}; keep what the run had"
            )
    if len(new) < len(old):
        raise UnsupportedError(
            f"stream: it has {len(new)} experiences, and the run was trained on {len(old)}; add some at the end"
        )
    for before, after in ((old.experiences, new.experiences), (old.evaluated, new.evaluated)):
        for former, present in zip(before, after, strict=False):
            _check_equal(former, present)


def _check_equal(old: Experience, new: Experience) -> None:
    where = f"stream: experience {old.index}"
    remedy = "a continued run adds experiences after those that were learned, which stay as they are"
    for key, theirs, ours in (("name", old.name, new.name), ("task id", old.task_id, new.task_id)):
        if ours != theirs:
            raise UnsupportedError(f"{where} has the {key} {ours}, and had {theirs}; {remedy}")
    for split, before, after in (
        ("train", old.train, new.train),
        ("validation", old.validation, new.validation),
        ("test", old.test, new.test),
    ):
        if _fingerprint(before) != _fingerprint(after):
            raise UnsupportedError(f"{where} ({old.name}) has other {split} data than those that the run saw; {remedy}")


def _fingerprint(source: Source | None) -> str:
    """SHA-256 of a source's rows as they are read, or of what makes its environments.

    Of inputs that stay on disk, names and sizes of the files and the numbers of the rows stand for their bytes.
    """
    digest = hashlib.sha256()
    if source is None:
        return ""
    if source.kind == "environment":
        recipe = (str(source.env), dict(source.kwargs), dict(source.attributes), source.num_envs, source.seed)
        return hashlib.sha256(repr(recipe).encode()).hexdigest()
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
