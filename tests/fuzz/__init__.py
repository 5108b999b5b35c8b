"""Cases drawn by seed that a user, a disk or a client may send; none of them may end in a traceback."""

from __future__ import annotations

import os

# A thousand threads are allowed, and their stacks count as the memory that a case may have.
os.environ.setdefault("OMP_STACKSIZE", "512k")
