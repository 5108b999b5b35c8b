"""Commands and combinations in forked processes, so that what takes seconds to import is imported once."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path

from attrs import frozen

__all__ = ["Ended", "become", "command", "killed", "preload"]

POLL_SECONDS = 0.004
PRELOADED = (
    "torch._dynamo",
    "torch.utils.tensorboard",
    "sklearn.datasets",
    "sklearn.preprocessing",
    "sklearn.neighbors",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "PIL.Image",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "stable_baselines3",
    "sb3_contrib",
    "rlcl.commands",
    "rlcl.launch.seeds",
    "rlcl.learners.gradient",
    "rlcl.report.page.build",
)


def preload() -> None:
    """Imports what most commands need; computes nothing, so that a fork begins as a process of its own would."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # runs of two threads share the cores with other runs
    import torch

    torch.set_num_threads(1)
    # Before all else: what Avalanche needs of torchvision must not be imported in another order.
    importlib.import_module("rlcl.data.avalanche_import").import_avalanche()
    for module in PRELOADED:
        importlib.import_module(module)
    importlib.import_module("matplotlib.font_manager").findfont("DejaVu Sans")
    from rlcl.commands import main

    for verb in ("run", "report", "compare", "export", "predict", "check"):
        with suppress(SystemExit), open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            main([verb, "--help"])


@frozen
class Ended:
    """How a command ended.

    Args:
        arguments: of it.
        status: its exit status; negative where a signal ended it.
        text: what it printed.
        late: whether its time was over.
    """

    arguments: tuple[str, ...]
    status: int
    text: str
    late: bool = False


def become(work: Callable[[], int], log: Path, folder: Path) -> None:
    """Makes this process, just forked, a group of its own that works in a folder and ends."""
    status = 1
    try:
        os.setsid()
        os.chdir(folder)
        written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(written, 1)
        os.dup2(written, 2)
        status = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def command(arguments: Sequence[str], folder: Path, seconds: float) -> Ended:
    """Runs ``rlcl`` with some arguments in a folder.

    Args:
        arguments: as on the command line.
        folder: the working directory.
        seconds: after which it is killed.
    """
    return _followed(arguments, folder, seconds, lambda: False)


def killed(arguments: Sequence[str], folder: Path, seconds: float, file: str, lines: int) -> Ended:
    """The same, killed as soon as a file that it writes has some lines.

    Args:
        arguments, folder, seconds: as above.
        file: a pattern below the folder.
        lines: after which it is killed.
    """

    def enough() -> bool:
        return any(found.read_bytes().count(b"\n") >= lines for found in folder.glob(file))

    return _followed(arguments, folder, seconds, enough)


def _followed(arguments: Sequence[str], folder: Path, seconds: float, enough: Callable[[], bool]) -> Ended:
    log = folder / f"{arguments[0]}.log"
    pid = os.fork()
    if pid == 0:
        become(lambda: _main(arguments), log, folder)
    until, late, ended, status = time.monotonic() + seconds, False, 0, 0
    try:
        while not (ended or late or enough()):
            time.sleep(POLL_SECONDS)
            ended, status = os.waitpid(pid, os.WNOHANG)
            late = not ended and time.monotonic() > until
    finally:
        _kill(pid, bool(ended))
        if not ended:
            _, status = os.waitpid(pid, 0)
    text = log.read_text(errors="replace") if log.exists() else ""
    return Ended(tuple(arguments), os.waitstatus_to_exitcode(status), text, late)


def _kill(pid: int, ended: bool) -> None:
    """Kills a command with the environments that it may have in processes of their own."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        if not ended:  # just forked, and not the first of a group yet
            os.kill(pid, signal.SIGKILL)


def _main(arguments: Sequence[str]) -> int:
    from rlcl.commands import main

    try:
        main(list(arguments))
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0
