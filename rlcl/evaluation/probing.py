"""Looks into a learner's network with every probe of a plan, and leaves it as it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from attrs import define
from torch import Tensor

from rlcl.errors import UnseenTaskError, UnsupportedError
from rlcl.evaluation.inside import Inside, host_of
from rlcl.evaluation.plan import Plan
from rlcl.registry import name_of
from rlcl.seeding import Seeds, preserved_global_state
from rlcl.types import Batch, Encoder, Experience, Host, Probe

__all__ = ["Probing", "probe_name"]


def probe_name(probe: Probe) -> str:
    """The name of a probe's records: as a config names it, without the file that it is in."""
    return name_of("probe", probe).rpartition(":")[2]


TRIED = 4  # random inputs


@define(eq=False)
class Probing:
    """The probes of a plan on one learner.

    Args:
        learner: prepared.
        plan: which probes, and on how many inputs.
        parts: the experiences as the learner sees them, by their index.
        encoder: the learner's.
        seeds: of the run; they choose the inputs.

    Raises:
        UnsupportedError: the learner shows no network, or one of more than an observation, or a probe stands there
            twice.
    """

    learner: Any
    plan: Plan
    parts: Sequence[Experience]
    encoder: Encoder
    seeds: Seeds

    def __attrs_post_init__(self) -> None:
        names = [probe_name(probe) for probe in self.plan.probes]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise UnsupportedError(f"evaluation.probes[{index}]: {name} stands there twice; leave one out")
        if not names:
            return
        host = host_of(self.learner)
        if host.kind == "other" and self.parts[0].train.kind == "environment":
            raise UnsupportedError(
                f"evaluation.probes: what learner {host.name} gives is no function of one observation; leave them out"
            )
        self._try(host)

    def _try(self, host: Host) -> None:
        """Raises UnsupportedError where a probe finds nothing to look at; the true inputs come later."""
        part, device = self.parts[0], next(host.modules[host.primary].parameters()).device
        if part.train.kind == "environment":
            raw, shown = tuple(part.environment.spaces()[0].shape or ()), False
        else:
            raw = tuple(part.train.inputs.shape[1:])
            shown = part.task_id is not None or part.train.task_ids is not None
        inputs = torch.randn(TRIED, *self.encoder.shape(raw), generator=self.seeds.child("tried").torch())
        ids = torch.full((TRIED,), part.task_id or 0, device=device) if shown else None
        network = Inside(host, Batch(inputs.to(device), None, ids))
        for probe in self.plan.probes:
            try:
                with preserved_global_state():
                    probe(network)
            except UnsupportedError:
                raise
            except Exception:  # of these inputs, which it will never see
                continue

    def look(self, trained_on: int) -> dict[str, float]:
        """Each probe's number by its name, without those that there are not yet.

        Args:
            trained_on: index of the experience whose inputs are used; -1 before any training, when they are the
                first's, and those of environments are not there yet.
        """
        part = self.parts[max(trained_on, 0)]
        if not self.plan.probes or (trained_on < 0 and part.train.kind == "environment"):
            return {}
        host = host_of(self.learner)  # asked for anew: a resumed strategy of Avalanche is another
        try:
            with preserved_global_state():
                network = Inside(host, self.batch(host, part))
                found = {probe_name(probe): probe(network) for probe in self.plan.probes}
        except UnseenTaskError:  # a head that is not there yet
            return {}
        return {name: float(value) for name, value in found.items() if value is not None}

    def batch(self, host: Host, part: Experience) -> Batch:
        """Inputs of an experience, the same ones at each call; of an environment what the learner has met lately."""
        rng, source = self.seeds.child(str(part.index)).numpy(), part.train
        if source.kind == "environment":
            return host.sample(self.plan.probe_samples, rng)
        rows = torch.from_numpy(rng.permutation(len(source))[: self.plan.probe_samples]).sort().values
        chosen = source.subset(rows)
        device = next(host.modules[host.primary].parameters()).device
        inputs = self.encoder.encode(chosen.read()[0]).to(device)
        ids: Tensor | None = chosen.task_ids
        if ids is None and part.task_id is not None:
            ids = torch.full((len(rows),), part.task_id)
        return Batch(inputs, None, None if ids is None else ids.to(device))
