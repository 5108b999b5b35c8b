"""Client of ``rlcl serve``; depends on Python's standard library only.

Example::

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
    """Error for a request that the server rejected, or a server that cannot be reached.

    Args:
        message: description of the error.
        status: HTTP status; None if the server did not answer.
        detail: ``detail`` of the server's answer; for 422 and 404 a list of ``{"loc", "msg", "input"}``.
    """

    def __init__(self, message: str, status: int | None = None, detail: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail


class Client:
    """Client of one server, safe for use by several threads; connections are kept open.

    Args:
        url: URL of the server, for example ``http://127.0.0.1:8000``.
        token: token that the server requires; None if it requires none.
        timeout: seconds to wait for an answer.
        retries: number of retries if the server is busy (503), cannot be reached, or closes the connection without an
            answer. A retried prediction may be in the server's log twice.

    Raises:
        ValueError: the URL does not begin with http:// or https://.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 30.0, retries: int = 5) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url: expected a URL such as http://127.0.0.1:8000, got {url!r}")
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
        """Request predictions.

        Args:
            inputs: (B, *shape) lists or arrays, with NaN or None for missing values; a mapping of them by name if the
                model has several inputs.
            task_id: task id of the batch, if the model takes one.

        Returns:
            ``ids``, the outputs by name, and ``bundle``, the digest of the bundle that made the predictions.

        Raises:
            ClientError: the server rejected the request or cannot be reached.
        """
        return self._post("/predict", {"inputs": _to_lists(inputs)}, task_id)

    def act(
        self,
        observations: Any,
        state: Any = None,
        task_id: int | None = None,
        episodes: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Request greedy actions of a policy.

        Args:
            observations: (B, *shape), in the form of the inputs of :meth:`predict`.
            state: ``state`` of the previous answer, for a recurrent policy; None at the start of an episode.
            task_id: task id of the batch, if the policy takes one.
            episodes: B texts, each of which identifies the episode of an observation. The monitor uses them to compare
                whole episodes; without them it skips most observations.

        Returns:
            ``ids``, ``action``, the next ``state`` of a recurrent policy, and ``bundle``.

        Raises:
            ClientError: the server rejected the request or cannot be reached.
        """
        options = {"state": _to_lists(state), "episodes": None if episodes is None else list(episodes)}
        body = {key: value for key, value in options.items() if value is not None}
        return self._post("/act", {"observations": _to_lists(observations), **body}, task_id)

    def feedback(
        self, id: str, *, label: str | None = None, value: Any = None, reward: float | None = None
    ) -> dict[str, Any]:
        """Send feedback for an earlier answer: one of label, value and reward.

        Raises:
            ClientError: the server rejected the request or cannot be reached.
        """
        options = {"label": label, "value": _to_lists(value), "reward": reward}
        return self.feedbacks([{"id": id, **{key: item for key, item in options.items() if item is not None}}])

    def feedbacks(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Send feedback for several answers: ``[{"id": ..., "label": ...}, ...]``."""
        return self._request("POST", "/feedback", [dict(item) for item in items])

    def signature(self) -> dict[str, Any]:
        """Return the signature of the deployed model."""
        return self._request("GET", "/signature")

    def health(self) -> dict[str, Any]:
        """Return the health of the server.

        Raises:
            ClientError: the server is not healthy or cannot be reached.
        """
        return self._request("GET", "/health")

    def ready(self) -> bool:
        """Return True if the server is ready for requests.

        Raises:
            ClientError: the server cannot be reached.
        """
        try:
            status, answer, _ = self._send_once("GET", "/ready", None)
        except (OSError, http.client.HTTPException) as error:
            raise ClientError(f"{self.url}/ready: {type(error).__name__}: {error}") from error
        return status == 200 and bool(answer["ready"])

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _post(self, path: str, body: dict[str, Any], task_id: int | None) -> dict[str, Any]:
        return self._request("POST", path, body if task_id is None else {**body, "task_id": task_id})

    def _request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Send a request, with retries, and return the answer."""
        encoded = None if body is None else _to_json(body)
        for attempt in range(self.retries + 1):
            pause = FIRST_PAUSE_SECONDS * 2**attempt
            try:
                status, answer, wait = self._send_once(method, path, encoded)
            except (OSError, http.client.HTTPException) as error:
                failure = ClientError(f"{self.url}{path}: {type(error).__name__}: {error}")
            else:
                if status == 200:
                    return dict(answer)
                detail = answer.get("detail")
                failure = ClientError(f"{self.url}{path}: {status}: {_in_one_line(detail)}", status, detail)
                if status != 503:
                    raise failure
                pause = max(pause, wait)
            if attempt < self.retries:
                time.sleep(pause)
        raise failure

    def _send_once(self, method: str, path: str, body: bytes | None) -> tuple[int, dict[str, Any], float]:
        """Send a request, and return the status, the answer, and the seconds to wait before a retry."""
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
        except (ValueError, RecursionError):  # RecursionError: nested too deeply
            answer = {"detail": text.decode(errors="replace")}
        return response.status, answer, float(wait) if wait.isdigit() else 0.0


def _to_lists(value: Any) -> Any:
    """Convert arrays and tensors to lists."""
    if isinstance(value, Mapping):
        return {key: _to_lists(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_lists(item) for item in value] if any(hasattr(item, "tolist") for item in value) else list(value)
    return value.tolist() if hasattr(value, "tolist") else value


def _to_json(body: Any) -> bytes:
    """Encode as JSON with null for NaN; infinity stays, so that the server's error names its index."""
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


def _in_one_line(detail: Any) -> str:
    """Format the detail of a server's answer in one line."""
    if not isinstance(detail, list):
        return str(detail)
    return "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in detail)
