"""The user's alarm command: started without a shell, with the alarm in environment variables."""

from __future__ import annotations

import os
import shlex
import subprocess

from rlcl.deploy.monitoring.monitor import DriftLine
from rlcl.errors import UnsupportedError

__all__ = ["alarm_variables", "parse_command", "run_command"]

SECONDS = 60.0  # maximum run time of a command


def parse_command(command: str) -> list[str]:
    """Split a command into words as a shell would; it is started without a shell.

    Raises:
        UnsupportedError: a quote is not closed, or the command is empty.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UnsupportedError(f"--on-alarm {command!r}: {error}") from error
    if not words:
        raise UnsupportedError("--on-alarm: expected a command, got an empty text")
    return words


def alarm_variables(line: DriftLine) -> dict[str, str]:
    """Return the environment variables of an alarm.

    Their names are ``RLCL_ALARM_`` and KIND, WHAT, STATISTIC, P, THRESHOLD, COUNT, BUNDLE, FROM, TO (the first and the
    last request).

    Args:
        line: line of the alarm.
    """
    values = {name: line[name] for name in ("kind", "what", "statistic", "p", "threshold", "count", "bundle")}
    first, last = line["requests"]
    values = {**values, "from": first, "to": last}
    # The operating system rejects a zero byte, which the name of a class may contain.
    return {
        f"RLCL_ALARM_{name.upper()}": "" if value is None else str(value).replace("\0", "")
        for name, value in values.items()
    }


def run_command(words: list[str], line: DriftLine) -> str | None:
    """Run a command, and wait until it has finished.

    Args:
        words: result of :func:`parse_command`.
        line: line of the alarm.

    Returns:
        A description of the failure, or None. A command that fails does not stop the monitor.
    """
    try:
        subprocess.run(words, env={**os.environ, **alarm_variables(line)}, check=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"--on-alarm: {words[0]} was stopped after {SECONDS:g} seconds"
    except subprocess.CalledProcessError as error:
        return f"--on-alarm: {words[0]} failed with exit status {error.returncode}"
    except OSError as error:
        return f"--on-alarm: {words[0]} cannot be started: {error.strerror}"
    return None
