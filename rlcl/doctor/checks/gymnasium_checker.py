"""Gymnasium's own checker of environments."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from contextlib import closing

from gymnasium.utils.env_checker import check_env

from rlcl.data.environments.environment import Environment
from rlcl.doctor.findings import Finding
from rlcl.doctor.recording import Recording

__all__ = ["check_by_gymnasium"]

CHECK = "gymnasium"
MOST = 3  # of its warnings that are shown
REPEATED = ("render", "For Box action spaces, we recommend", "A Box observation space m")  # other checks say so


def check_by_gymnasium(source: Environment, recording: Recording, seed: int) -> Iterator[Finding]:
    """Run Gymnasium's checker on the environment without its wrappers; it takes actions that masks forbid."""
    if any(mask is not None for mask in recording.masks):
        yield Finding(CHECK, "note", "its checker was not run, because it takes actions that masks forbid")
        return
    with closing(source.unguarded(checker=False)) as env, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                check_env(env.unwrapped, skip_render_check=True, skip_close_check=True)
        except Exception as error:
            reason = f"{error}".strip().splitlines()[0] if str(error).strip() else type(error).__name__
            yield Finding(CHECK, "warning", reason, "correct it; wrappers of Gymnasium rely on it")
            return
    texts = [_text(str(each.message)) for each in caught]
    texts = [text for text in dict.fromkeys(texts) if not any(part in text for part in REPEATED)]
    for text in texts[:MOST]:
        yield Finding(CHECK, "note", text)
    if not texts:
        yield Finding(CHECK, "ok", "its checker finds nothing more")


def _text(message: str) -> str:
    """Return a warning without colors and its prefix, in one line."""
    plain = message.replace("\\x1b[33m", "").replace("\\x1b[0m", "").replace("\x1b[33m", "").replace("\x1b[0m", "")
    return " ".join(plain.removeprefix("WARN: ").split())
