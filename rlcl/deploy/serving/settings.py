"""Settings of a server, and its token."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

from attrs import field, frozen
from attrs.validators import ge, gt

from rlcl.errors import UnsupportedError

__all__ = ["ServerSettings", "read_token"]

TOKEN = "RLCL_TOKEN"


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@frozen(kw_only=True)
class ServerSettings:
    """The address, the limits and the log of a server.

    Args:
        host, port: address to listen on; port 0 selects a free one.
        token: token that clients must send as ``Authorization: Bearer TOKEN``; None for no token.
        open: whether other machines may send requests without a token.
        log: whether requests, answers and feedback are logged.
        threads: number of threads of ONNX Runtime.
        max_batch: maximum number of rows in one run of the model, except for a single larger request.
        max_wait: seconds to wait for more requests before a run; 0 joins the requests that arrived during the
            previous run.
        max_queue: maximum number of waiting requests, for predictions and for feedback separately.
        max_body: maximum size of a request's body in bytes.
        max_rows: maximum number of inputs, or of items of feedback, in a request.
        timeout: seconds for a request's body to arrive, and then for its answer.
        drain: seconds to answer the pending requests after SIGTERM.

    Raises:
        UnsupportedError: other machines can reach the server, and there is no token.
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
                f"--host {self.host}: other machines could reach the server without a token; set one with "
                f"--token-file or {TOKEN}, or pass --no-token"
            )


def read_token(file: Path | None, open: bool) -> str | None:
    """Read the token from a file, or from the environment if there is no file.

    Args:
        file: file with the token in its only line; None for the environment variable.
        open: whether the user has passed --no-token.

    Raises:
        UnsupportedError: the file cannot be read; the token is empty, or contains spaces or characters outside
            printable ASCII; or there is a token beside --no-token.
    """
    source = TOKEN if file is None else str(file)
    try:
        text = os.environ.get(TOKEN) if file is None else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UnsupportedError(f"--token-file {file} cannot be read: {error}") from error
    if text is None:
        return None
    if open:
        raise UnsupportedError(f"--no-token and a token in {source} exclude each other; remove one of them")
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UnsupportedError(f"{source}: expected a token of printable ASCII characters without spaces")
    return token
