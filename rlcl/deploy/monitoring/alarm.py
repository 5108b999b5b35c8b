"""What a user's command learns of an alarm: environment variables, and nothing that a shell would read."""

from __future__ import annotations

import os
import shlex
import subprocess

from rlcl.deploy.monitoring.monitor import Line
from rlcl.errors import UnsupportedError

__all__ = ["parsed", "run", "variables"]

SECONDS = 60.0  # that a command may take


def parsed(command: str) -> list[str]:
    """A command's words, as a shell would split them; it is started without a shell.

    Raises:
        UnsupportedError: a quote is not closed, or there is nothing.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UnsupportedError(f"--on-alarm {command!r}: {error}") from error
    if not words:
        raise UnsupportedError("--on-alarm: expected a command, got nothing")
    return words


def variables(line: Line) -> dict[str, str]:
    """``RLCL_ALARM_`` and KIND, WHAT, STATISTIC, P, THRESHOLD, COUNT, BUNDLE, FROM, TO (the first and last request).

    Args:
        line: of an alarm.
    """
    told = {name: line[name] for name in ("kind", "what", "statistic", "p", "threshold", "count", "bundle")}
    first, last = line["requests"]
    values = {**told, "from": first, "to": last}
    # The operating system refuses a zero byte, which a class's name might hold.
    return {
        f"RLCL_ALARM_{name.upper()}": "" if value is None else str(value).replace("\0", "")
        for name, value in values.items()
    }


def run(words: list[str], line: Line) -> str | None:
    """Runs a command to its end.

    Args:
        words: of :func:`parsed`.
        line: of the alarm.

    Returns:
        What went wrong, else None: a command that fails is no reason to stop watching.
    """
    try:
        subprocess.run(words, env={**os.environ, **variables(line)}, check=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"--on-alarm: {words[0]} was stopped after {SECONDS:g} seconds"
    except subprocess.CalledProcessError as error:
        return f"--on-alarm: {words[0]} left with status {error.returncode}"
    except OSError as error:
        return f"--on-alarm: {words[0]} cannot be started: {error.strerror}"
    return None
