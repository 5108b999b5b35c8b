"""Runner of the probes of an evaluation plan on the network of a learner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from attrs import define
from torch import Tensor

from rlcl.errors import UnseenTaskError, UnsupportedError
from rlcl.evaluation.network_activity import NetworkActivity, host_of
from rlcl.evaluation.plan import Plan
from rlcl.registry import name_of
from rlcl.seeding import Seeds, preserved_global_state
from rlcl.types import Batch, Encoder, Experience, Host, Probe, SequenceHost

__all__ = ["ProbeRunner", "probe_name"]


def probe_name(probe: Probe) -> str:
    """Return the name of a probe's records: its name in a config, without the path of a file."""
    return name_of("probe", probe).rpartition(":")[2]


TRIAL_ROWS = 4  # number of random inputs for the check of a probe


@define(eq=False)
class ProbeRunner:
    """Runner of the probes of a plan on one learner, which does not change the learner.

    Args:
        learner: prepared learner.
        plan: evaluation plan with the probes and the number of inputs.
        parts: parts of the stream as the learner sees them, by index.
        encoder: encoder of the learner.
        seeds: seeds for the selection of the inputs.

    Raises:
        UnsupportedError: the learner provides no network, the outputs of its network depend on more than one
            observation, or a probe is listed twice.
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
                raise UnsupportedError(f"evaluation.probes[{index}]: {name} is listed twice; remove one")
        if not names:
            return
        host = host_of(self.learner)
        recurrent = isinstance(host, SequenceHost) and host.sequence_length is not None
        if recurrent or (host.kind == "other" and self.parts[0].train.kind == "environment"):
            raise UnsupportedError(
                f"evaluation.probes: the outputs of learner {host.name} depend on more than one observation, which "
                "probes do not support; remove them"
            )
        self._check_probes(host)

    def _check_probes(self, host: Host) -> None:
        """Run the probes on random inputs, to find missing requirements before training.

        Raises:
            UnsupportedError: the network lacks something that a probe needs.
        """
        part, device = self.parts[0], next(host.modules[host.primary].parameters()).device
        if part.train.kind == "environment":
            shape, has_task_ids = tuple(part.environment.spaces()[0].shape or ()), False
        else:
            shape = tuple(part.train.inputs.shape[1:])
            has_task_ids = part.task_id is not None or part.train.task_ids is not None
        inputs = torch.randn(TRIAL_ROWS, *self.encoder.shape(shape), generator=self.seeds.child("tried").torch())
        ids = torch.full((TRIAL_ROWS,), part.task_id or 0, device=device) if has_task_ids else None
        network = NetworkActivity(host, Batch(inputs.to(device), None, ids))
        for probe in self.plan.probes:
            try:
                with preserved_global_state():
                    probe(network)
            except UnsupportedError:
                raise
            except Exception:  # an error may be due to the random inputs
                continue

    def run(self, trained_on: int) -> dict[str, float]:
        """Return the values of the probes by name, without values that are not defined yet.

        Args:
            trained_on: index of the part whose inputs are used; -1 before any training, for the inputs of the first
                part. Environments have no inputs before training.
        """
        part = self.parts[max(trained_on, 0)]
        if not self.plan.probes or (trained_on < 0 and part.train.kind == "environment"):
            return {}
        host = host_of(self.learner)  # not stored, because Avalanche creates a new host when a run resumes
        try:
            with preserved_global_state():
                network = NetworkActivity(host, self.batch(host, part))
                values = {probe_name(probe): probe(network) for probe in self.plan.probes}
        except UnseenTaskError:  # the head of the task does not exist yet
            return {}
        return {name: float(value) for name, value in values.items() if value is not None}

    def batch(self, host: Host, part: Experience) -> Batch:
        """Return inputs of a part, the same at each call, or recent observations if it is an environment."""
        rng, source = self.seeds.child(str(part.index)).numpy(), part.train
        if source.kind == "environment":
            return host.sample(self.plan.probe_samples, rng)
        rows = torch.from_numpy(rng.permutation(len(source))[: self.plan.probe_samples]).sort().values
        subset = source.subset(rows)
        device = next(host.modules[host.primary].parameters()).device
        ids: Tensor | None = subset.task_ids
        if ids is None and part.task_id is not None:
            ids = torch.full((len(rows),), part.task_id)
        inputs = self.encoder.encode(subset.read()[0], ids).to(device)
        return Batch(inputs, None, None if ids is None else ids.to(device))
