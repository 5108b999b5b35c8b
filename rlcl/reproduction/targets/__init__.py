"""What protocols are held against: a kind a file, which ``target.type`` names."""

from collections.abc import Mapping

from rlcl.reproduction.sides import Target
from rlcl.reproduction.targets.mean import Mean
from rlcl.reproduction.targets.order import Order
from rlcl.reproduction.targets.peer import Peer

TARGETS: Mapping[str, type[Target]] = {
    "mean": Mean,
    "peer": Peer,
    "order": Order,
}
