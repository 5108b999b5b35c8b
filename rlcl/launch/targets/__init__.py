"""What protocols are held against: a kind a file, which ``target.type`` names."""

from collections.abc import Mapping

from rlcl.launch.sides import Target
from rlcl.launch.targets.mean import Mean
from rlcl.launch.targets.order import Order
from rlcl.launch.targets.peer import Peer

TARGETS: Mapping[str, type[Target]] = {
    "mean": Mean,
    "peer": Peer,
    "order": Order,
}
