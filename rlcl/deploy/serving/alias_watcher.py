"""Watcher of a deployment's alias: loads another bundle when the alias changes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from attrs import define, field

from rlcl.deploy.deployment import Deployment
from rlcl.deploy.serving.loaded_model import LoadedModel

__all__ = ["AliasWatcher"]

POLL_SECONDS = 0.5


@define(eq=False)
class AliasWatcher:
    """A poller of one deployment's alias.

    Args:
        deployment: deployment with the alias.
        load: function that loads a bundle by its name; called in a thread.
        on_loaded: function that is called with a new model when it is loaded.
        on_failed: function that is called with the error if a new bundle does not load; the current one stays
            deployed until the alias changes again.
    """

    deployment: Deployment
    load: Callable[[str], LoadedModel]
    on_loaded: Callable[[LoadedModel], None]
    on_failed: Callable[[str], None]
    _stamp: tuple[int, int, int] | None = field(init=False, default=None)
    _name: str = field(init=False, default="")

    def load_first(self) -> LoadedModel:
        """Load the bundle that the alias currently names.

        Raises:
            BundleError: the bundle or the alias is damaged.
        """
        self._stamp = _file_stamp(self.deployment.alias)
        self._name = self.deployment.alias_names()[0]
        return self.load(self._name)

    async def watch(self) -> None:
        """Poll the alias until the task is cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            stamp = _file_stamp(self.deployment.alias)
            if stamp == self._stamp:
                continue
            self._stamp = stamp
            try:
                name = self.deployment.alias_names()[0]
                if name == self._name:
                    continue
                loaded = await asyncio.to_thread(self.load, name)
            except Exception as error:  # for any error, the current bundle stays deployed and polling continues
                self.on_failed(str(error))
            else:
                self._name = name
                self.on_loaded(loaded)


def _file_stamp(path: Path) -> tuple[int, int, int] | None:
    """Return values that change whenever the file is replaced, or None if there is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
