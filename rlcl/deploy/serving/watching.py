"""Notices that the alias was flipped, and loads the bundle that it names beside the one that answers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from attrs import define, field

from rlcl.deploy.deployment import Deployment
from rlcl.deploy.serving.served import Served

__all__ = ["Watcher"]

POLL_SECONDS = 0.5


@define(eq=False)
class Watcher:
    """Polls the alias of one deployment.

    Args:
        deployment: whose alias.
        load: opens a bundle, its name being given; in a thread.
        loaded: is told of the bundle that takes over.
        failed: is told of one that does not load; the one before goes on, until the alias is flipped again.
    """

    deployment: Deployment
    load: Callable[[str], Served]
    loaded: Callable[[Served], None]
    failed: Callable[[str], None]
    _seen: tuple[int, int, int] | None = field(init=False, default=None)
    _name: str = field(init=False, default="")

    def first(self) -> Served:
        """The bundle that the alias names now.

        Raises:
            BundleError: it, or the alias, is damaged.
        """
        self._seen = _stamp(self.deployment.alias)
        self._name = self.deployment.names()[0]
        return self.load(self._name)

    async def watch(self) -> None:
        """Polls until it is cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            stamp = _stamp(self.deployment.alias)
            if stamp == self._seen:
                continue
            self._seen = stamp
            try:
                name = self.deployment.names()[0]
                if name == self._name:
                    continue
                served = await asyncio.to_thread(self.load, name)
            except Exception as error:  # whatever is wrong with it, the present one goes on, and later ones are noticed
                self.failed(str(error))
            else:
                self._name = name
                self.loaded(served)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes whenever the file is replaced."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
