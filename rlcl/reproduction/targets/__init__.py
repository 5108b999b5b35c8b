"""Kinds of targets by ``target.type``, one per file."""

from collections.abc import Mapping

from rlcl.reproduction.targets.claims import Claims
from rlcl.reproduction.targets.mean import Mean
from rlcl.reproduction.targets.order import Order
from rlcl.reproduction.targets.peer import Peer
from rlcl.reproduction.types import Target

TARGETS: Mapping[str, type[Target]] = {
    "mean": Mean,
    "peer": Peer,
    "order": Order,
    "claims": Claims,
}
