"""What a server is told when it starts."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

from attrs import field, frozen
from attrs.validators import ge, gt

from rlcl.errors import UnsupportedError

__all__ = ["Settings", "read_token"]

TOKEN = "RLCL_TOKEN"


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@frozen(kw_only=True)
class Settings:
    """Where to listen, what to allow and what to keep.

    Args:
        host, port: to listen on; port 0 takes a free one.
        token: what clients must send as ``Authorization: Bearer TOKEN``; None for no token.
        open: whether other machines may come without a token.
        log: whether requests, answers and feedback are kept.
        threads: of ONNX Runtime.
        max_batch: rows of one run of the model, but for a single request of more.
        max_wait: seconds to wait for more requests before a run; 0 joins those that came during the run before.
        max_queue: requests that may wait, of predictions and of feedback each.
        max_body: bytes of a request's body.
        max_rows: inputs of a request, and feedback of a request.
        timeout: seconds for a request's body to arrive, and then for its answer.
        drain: seconds to answer what is under way after SIGTERM.

    Raises:
        UnsupportedError: open to other machines without a token.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    open: bool = False
    log: bool = True
    threads: int = field(default=1, validator=ge(1))
    max_batch: int = field(default=128, validator=ge(1))
    max_wait: float = field(default=0.0, validator=ge(0))
    max_queue: int = field(default=1024, validator=ge(1))
    max_body: int = field(default=4 << 20, validator=ge(1))
    max_rows: int = field(default=1024, validator=ge(1))
    timeout: float = field(default=10.0, validator=gt(0))
    drain: float = field(default=10.0, validator=gt(0))

    def __attrs_post_init__(self) -> None:
        if self.token is None and not self.open and not is_loopback(self.host):
            raise UnsupportedError(
                f"--host {self.host}: other machines could reach the server without a token; give one with "
                f"--token-file or {TOKEN}, or say --no-token"
            )


def read_token(file: Path | None, open: bool) -> str | None:
    """The token out of a file or of the environment, the file first.

    Args:
        file: whose only line it is.
        open: whether none is wanted.

    Raises:
        UnsupportedError: the file cannot be read, the token is empty or no plain text, or it is both given and refused.
    """
    place = TOKEN if file is None else str(file)
    try:
        text = os.environ.get(TOKEN) if file is None else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UnsupportedError(f"--token-file {file} cannot be read: {error}") from error
    if text is None:
        return None
    if open:
        raise UnsupportedError(f"--no-token beside a token in {place}; leave out one of them")
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UnsupportedError(f"{place}: expected a token of letters, digits and signs, without spaces")
    return token
