"""A client of ``rlcl serve``, of Python's standard library alone.

client = Client("http://127.0.0.1:8000")
answer = client.predict([[0.0] * 64])
client.feedback(answer["ids"][0], label="7")
"""

from __future__ import annotations

import http.client
import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Client", "ClientError"]

FIRST_PAUSE_SECONDS = 0.1


class ClientError(Exception):
    """A server that refused a request, or could not be reached.

    Args:
        message: what it said.
        status: of HTTP; None where nothing was answered.
        detail: as the server gave it; of 422 and 404 a list of ``{"loc", "msg", "input"}``.
    """

    def __init__(self, message: str, status: int | None = None, detail: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail


class Client:
    """One server, for any number of threads; connections are kept open.

    Args:
        url: of the server, for example ``http://127.0.0.1:8000``.
        token: that it asks for; None for none.
        timeout: seconds to wait for an answer.
        retries: further tries where the server is busy (503), cannot be reached, or hangs up without an answer. A
            prediction that is tried again may be in the server's log twice.

    Raises:
        ValueError: no URL of http or https.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 30.0, retries: int = 5) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"expected a URL as http://127.0.0.1:8000, got {url!r}")
        self.url = url.rstrip("/")
        self.timeout = timeout
        self.retries = retries
        self._prefix = parts.path.rstrip("/")
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._address = (parts.hostname, parts.port)
        self._headers = {"Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._idle: list[http.client.HTTPConnection] = []

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def predict(self, inputs: Any, task_id: int | None = None) -> dict[str, Any]:
        """Asks for predictions.

        Args:
            inputs: (B, *shape) lists or arrays, NaN or None where a value is missing; a mapping of such where there are
                several by name.
            task_id: where the model tells tasks apart.

        Returns:
            ``ids``, the outputs by name, and ``bundle``, the digest of what answered.

        Raises:
            ClientError: the server refuses, or cannot be reached.
        """
        return self._post("/predict", {"inputs": _plain(inputs)}, task_id)

    def act(
        self,
        observations: Any,
        state: Any = None,
        task_id: int | None = None,
        episodes: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Asks a policy for greedy actions.

        Args:
            observations: (B, *shape), as of :meth:`predict`.
            state: ``state`` of the answer before, of a policy that remembers; None at the begin of an episode.
            task_id: where the policy tells tasks apart.
            episodes: B names, which episode each observation is of: any text, another for each episode. The monitor
                compares whole episodes by them; without them it has to pass most observations over.

        Returns:
            ``ids``, ``action``, the next ``state`` where there is one, and ``bundle``.

        Raises:
            ClientError: the server refuses, or cannot be reached.
        """
        given = {"state": _plain(state), "episodes": None if episodes is None else list(episodes)}
        told = {key: value for key, value in given.items() if value is not None}
        return self._post("/act", {"observations": _plain(observations), **told}, task_id)

    def feedback(
        self, id: str, *, label: str | None = None, value: Any = None, reward: float | None = None
    ) -> dict[str, Any]:
        """Tells what became known of an earlier answer: one of label, value and reward.

        Raises:
            ClientError: the server refuses, or cannot be reached.
        """
        given = {"label": label, "value": _plain(value), "reward": reward}
        return self.feedbacks([{"id": id, **{key: item for key, item in given.items() if item is not None}}])

    def feedbacks(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The same for many: ``[{"id": ..., "label": ...}, ...]``."""
        return self._asked("POST", "/feedback", [dict(item) for item in items])

    def signature(self) -> dict[str, Any]:
        """What the model takes and gives."""
        return self._asked("GET", "/signature")

    def health(self) -> dict[str, Any]:
        """Returns where the server lives.

        Raises:
            ClientError: it does not.
        """
        return self._asked("GET", "/health")

    def ready(self) -> bool:
        """Whether the server wants traffic.

        Raises:
            ClientError: it cannot be reached.
        """
        try:
            status, answer, _ = self._once("GET", "/ready", None)
        except (OSError, http.client.HTTPException) as error:
            raise ClientError(f"{self.url}/ready: {type(error).__name__}: {error}") from error
        return status == 200 and bool(answer["ready"])

    def close(self) -> None:
        """Closes the connections that nobody uses."""
        while self._idle:
            self._idle.pop().close()

    def _post(self, path: str, body: dict[str, Any], task_id: int | None) -> dict[str, Any]:
        return self._asked("POST", path, body if task_id is None else {**body, "task_id": task_id})

    def _asked(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        encoded = None if body is None else _encoded(body)
        for attempt in range(self.retries + 1):
            pause = FIRST_PAUSE_SECONDS * 2**attempt
            try:
                status, answer, wait = self._once(method, path, encoded)
            except (OSError, http.client.HTTPException) as error:
                failure = ClientError(f"{self.url}{path}: {type(error).__name__}: {error}")
            else:
                if status == 200:
                    return dict(answer)
                detail = answer.get("detail")
                failure = ClientError(f"{self.url}{path}: {status}: {_told(detail)}", status, detail)
                if status != 503:
                    raise failure
                pause = max(pause, wait)
            if attempt < self.retries:
                time.sleep(pause)
        raise failure

    def _once(self, method: str, path: str, body: bytes | None) -> tuple[int, dict[str, Any], float]:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._kind(*self._address, timeout=self.timeout)
        try:
            connection.request(method, self._prefix + path, body, self._headers)
            response = connection.getresponse()
            text = response.read()
            wait = response.getheader("Retry-After") or "0"
        except (OSError, http.client.HTTPException):
            connection.close()
            raise
        self._idle.append(connection)
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):  # nested too deeply
            answer = {"detail": text.decode(errors="replace")}
        return response.status, answer, float(wait) if wait.isdigit() else 0.0


def _plain(value: Any) -> Any:
    """Arrays and tensors as lists."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value] if any(hasattr(item, "tolist") for item in value) else list(value)
    return value.tolist() if hasattr(value, "tolist") else value


def _encoded(body: Any) -> bytes:
    """As JSON, which has no NaN: what is missing is null. Infinity stays, for the server to name its place."""
    try:
        return json.dumps(body, allow_nan=False).encode()
    except ValueError:
        return json.dumps(_with_null(body)).encode()


def _with_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_null(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _told(detail: Any) -> str:
    """A server's detail in one line."""
    if not isinstance(detail, list):
        return str(detail)
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in detail)
