"""What a deployed model is to learn next: new arrays, a part of which is judged on and not learned from."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from attrs import evolve, frozen
from torch import Tensor

from rlcl.data.cells import natural
from rlcl.data.readers.files import held_out
from rlcl.deploy.log import Log
from rlcl.deploy.signature import Signature
from rlcl.errors import BundleError, DataError

__all__ = ["AT_LEAST", "LABELLED", "Incoming", "Taught", "check_classes", "from_log", "split", "without"]

Array = np.ndarray[Any, Any]
AT_LEAST = 4  # rows, so that there are some to learn from and some to judge by
NEW_CLASS = 10  # rows of a class that was not known, at least
LABELLED = ("classifier", "regressor")  # the kinds of model that learn from labels


@frozen(kw_only=True)
class Taught:
    """What has to be known of rows that were learned, when they are not there any more.

    Args:
        classes: numbers of their classes, in order.
        low, high: the smallest and the greatest value of their inputs; of vectors one a feature. Infinite where all
            are missing.
    """

    classes: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, inputs: Tensor, labels: Tensor | None) -> Taught:
        """Of rows (N, *shape), and their class numbers (N,) or other labels, or none."""
        classes = () if labels is None or labels.is_floating_point() else tuple(torch.unique(labels).tolist())
        values = inputs.reshape(len(inputs), -1) if inputs.ndim == 2 else inputs.reshape(-1, 1)
        low = values.nan_to_num(math.inf).amin(0) if values.is_floating_point() else values.amin(0)
        high = values.nan_to_num(-math.inf).amax(0) if values.is_floating_point() else values.amax(0)
        return cls(classes=classes, low=tuple(map(float, low)), high=tuple(map(float, high)))


@frozen(kw_only=True, eq=False)
class Incoming:
    """New arrays, apart for learning and for judging.

    Args:
        name: for people, for example ``log 1-2,400``.
        train: (N, *shape) inputs and (N,) class numbers, (N, K) numbers, or None where nothing is labelled.
        test: (M, *shape) and (M, ...), held out of what is learned.
        classes: the names of all classes, those that the model knows first.
        last: the number in the log of the last feedback used (of an autoencoder, answer), 0 where it came from a file.
        log: the id of that log, empty where it has none.
        former: of what an earlier update has learned: ``train`` only stands for it.
    """

    name: str
    train: tuple[Tensor, Tensor | None]
    test: tuple[Tensor, Tensor | None]
    classes: tuple[str, ...] = ()
    last: int = 0
    log: str = ""
    former: Taught | None = None

    @property
    def taught(self) -> Taught:
        """Of the rows that are, or were, learned from."""
        return Taught.of(*self.train) if self.former is None else self.former


def from_log(log: Log, signature: Signature, added: Sequence[Incoming], fraction: float) -> Incoming:
    """Everything that feedback has come for since, however late; of autoencoders all that was asked since.

    Args:
        log: of the deployment.
        signature: of the model that answers now.
        added: what earlier updates have learned, from this log or from others.
        fraction: of the rows, held out evenly from each class.

    Raises:
        BundleError: there is too little.
    """
    after = max((each.last for each in added if each.last and log.continues(each.log)), default=0)
    wants_labels = signature.kind in LABELLED
    inputs, labels, last = [], [], log.last_feedback if wants_labels else after
    pages = log.pages(fed_after=after) if wants_labels else log.pages(after)
    for page in pages:
        if not _alike(page.signature, signature):
            continue  # asked of a model whose inputs were others
        inputs.append(next(iter(page.inputs.values())))
        labels += page.feedback
        last = last if wants_labels else int(page.numbers[-1])
    rows = sum(map(len, inputs))
    if rows < AT_LEAST:
        what = "answers with new feedback" if wants_labels else "new answers"
        raise BundleError(f"the log holds {rows} {what}, and an update needs at least {AT_LEAST}; send more first")
    y: Any = None
    if signature.kind == "classifier":
        y = [_name(label) for label in labels]
    elif wants_labels:
        y = _numbers(labels, signature)
    made = split(f"log {after + 1}-{last}", np.concatenate(inputs), y, signature, fraction)
    return evolve(made, last=last, log=log.id)


def _alike(before: Signature, signature: Signature) -> bool:
    pairs = zip(before.inputs, signature.inputs, strict=False)
    return len(before.inputs) == len(signature.inputs) and all(ours.same_rows(theirs) for ours, theirs in pairs)


def split(name: str, x: Array, labels: Any, signature: Signature, fraction: float) -> Incoming:
    """Each input once, with its latest label: what is asked often would be learned from and judged on at once.

    Args:
        name: for people.
        x: (N, *shape), as the signature has it.
        labels: N names of classes, (N, K) float32 numbers, or None.
        signature: of the model that answers now.
        fraction: of the rows, held out evenly from each class.

    Raises:
        BundleError: too few of the inputs differ.
    """
    x, kept = _once(x)
    if len(x) < AT_LEAST:
        raise BundleError(f"{name}: {len(x)} different inputs, and an update needs at least {AT_LEAST}; send more")
    classes, y, strata = signature.classes, None, np.zeros(len(x))
    if labels is not None and signature.kind == "classifier":
        names = [labels[row] for row in kept]
        classes = (*classes, *sorted(set(names) - set(classes), key=natural))
        number = {label: index for index, label in enumerate(classes)}
        strata = np.array([number[label] for label in names])
        y = torch.from_numpy(strata)
    elif labels is not None:
        y = torch.from_numpy(labels[kept])
    test = held_out(strata, fraction)
    if test.all() or not test.any():
        test = held_out(np.zeros(len(x)), fraction)
    inputs, rows = torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(test)
    return Incoming(
        name=name,
        train=(inputs[~rows], None if y is None else y[~rows]),
        test=(inputs[rows], None if y is None else y[rows]),
        classes=classes,
    )


def check_classes(incoming: Incoming, known: Sequence[str]) -> None:
    """Refuses a new class of few rows, and one whose name differs from another's only in case or blanks.

    Args:
        incoming: with labels of classes, or others.
        known: names of the classes that the model knows.

    Raises:
        BundleError: the first one.
    """
    like = {_folded(name): name for name in known}
    for number, new in enumerate(incoming.classes[len(known) :], len(known)):
        twin = like.setdefault(_folded(new), new)
        if twin != new:
            raise BundleError(
                f"{incoming.name}: the class {new!r} differs from {twin!r} only in case or blanks; give both the same "
                "name"
            )
        count = sum(
            int((labels == number).sum()) for _, labels in (incoming.train, incoming.test) if labels is not None
        )
        if count < NEW_CLASS:
            raise BundleError(
                f"{incoming.name}: {count} row{'s' * (count != 1)} of {new!r}, a class that the model does not know; "
                f"expected at least {NEW_CLASS}: correct the label if it is wrong, leave the rows out, or send more"
            )


def _folded(name: str) -> str:
    """A name without case and blanks, in one form of its characters."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


def _once(x: Array) -> tuple[Array, Array]:
    """The rows that differ, in the order they came last, and their places."""
    last = {row.tobytes(): place for place, row in enumerate(np.ascontiguousarray(x))}
    kept = np.array(sorted(last.values()), np.int64)
    return x[kept], kept


def without(incoming: Incoming, judged: Sequence[Tensor]) -> tuple[Incoming, int]:
    """What is new but for the training inputs that former experiences are judged on, and how many those were.

    Args:
        incoming: new arrays.
        judged: (N, *shape) held-out inputs of each former experience.
    """
    known = {row.tobytes() for inputs in judged for row in np.ascontiguousarray(inputs.numpy())}
    x, y = incoming.train
    keep = np.array([row.tobytes() not in known for row in np.ascontiguousarray(x.numpy())], bool)
    rows = torch.from_numpy(keep)
    return evolve(incoming, train=(x[rows], None if y is None else y[rows])), int((~keep).sum())


def _name(label: Any) -> str:
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def _numbers(labels: Sequence[Any], signature: Signature) -> Array:
    """(N, K) float32 of as many numbers, or lists of them."""
    width = signature.outputs[0].shape
    try:
        values = np.array(labels, np.float32).reshape(len(labels), *width)
    except (TypeError, ValueError):
        wanted = f"{width[0]} numbers" if width and width[0] > 1 else "a number"
        raise DataError(f"feedback: expected {wanted} for each answer") from None
    if not np.isfinite(values).all():
        place = int(np.argmin(np.isfinite(values).reshape(len(values), -1).all(1)))
        raise DataError(f"feedback: number {place} is not finite")
    return values
