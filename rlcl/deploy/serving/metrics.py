"""Counts and latencies of the server for Prometheus, kept as plain numbers, which are faster than the library's."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from attrs import define, field, frozen

__all__ = ["Histogram", "Metrics"]

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


@define(eq=False)
class Histogram:
    """Counts of values by bucket.

    Args:
        bounds: upper bounds of the buckets, in increasing order.
    """

    bounds: tuple[float, ...]
    counts: list[int] = field(init=False)
    total: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return the bounds and the number of values up to each, in Prometheus' form."""
        cumulative, buckets = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            cumulative += count
            buckets.append((bound, float(cumulative)))
        return buckets


@frozen(kw_only=True)
class ServerState:
    """The state of the server at the time when the metrics are read."""

    name: str
    digest: str
    ready: bool
    queue: int
    log_waiting: int
    log_committed: int
    log_lost: int


@define(eq=False)
class Metrics:
    """All counts since the start of the server.

    Args:
        state: function that returns the current state of the server.
    """

    state: Callable[[], ServerState]
    requests: Counter[tuple[str, int]] = field(init=False, factory=Counter)  # by path and status
    errors: Counter[str] = field(init=False, factory=Counter)  # by kind
    seconds: dict[str, Histogram] = field(init=False, factory=dict)  # by path
    batches: Histogram = field(init=False, factory=lambda: Histogram(ROWS))
    feedback: int = field(init=False, default=0)
    failed_loads: int = field(init=False, default=0)
    exchanges: int = field(init=False, default=0)

    def observe(self, path: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self.requests[path, status] += 1
        if path not in self.seconds:
            self.seconds[path] = Histogram(SECONDS)
        self.seconds[path].observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Any]:
        """Yield the metric families; called by prometheus_client."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        now = self.state()
        requests = CounterMetricFamily("rlcl_requests", "Answered requests.", labels=["path", "status"])
        for (path, status), count in self.requests.items():
            requests.add_metric([path, str(status)], count)
        errors = CounterMetricFamily("rlcl_errors", "Rejected requests.", labels=["kind"])
        for kind, count in self.errors.items():
            errors.add_metric([kind], count)
        latency = HistogramMetricFamily("rlcl_request_seconds", "Time from headers to answer.", labels=["path"])
        for path, histogram in self.seconds.items():
            latency.add_metric([path], histogram.buckets(), histogram.total)
        batches = HistogramMetricFamily("rlcl_batch_rows", "Rows in a run of the model.")
        batches.add_metric([], self.batches.buckets(), self.batches.total)
        bundle = GaugeMetricFamily("rlcl_bundle_info", "The deployed bundle.", labels=["name", "digest"])
        bundle.add_metric([now.name, now.digest], 1)
        yield from (requests, errors, latency, batches, bundle)
        for name, text, value in (
            ("rlcl_feedback", "Labels, values and rewards that were logged.", self.feedback),
            ("rlcl_bundle_load_failures", "Bundles that failed to load.", self.failed_loads),
            ("rlcl_bundle_exchanges", "Changes of the deployed bundle.", self.exchanges),
            ("rlcl_log_rows", "Answers that were committed to the log.", now.log_committed),
            ("rlcl_log_lost_rows", "Answers that could not be logged and were dropped.", now.log_lost),
        ):
            yield CounterMetricFamily(name, text, value=value)
        yield GaugeMetricFamily("rlcl_queue_requests", "Requests that wait for a run.", value=now.queue)
        yield GaugeMetricFamily("rlcl_log_waiting_rows", "Answers not yet in the log.", value=now.log_waiting)
        yield GaugeMetricFamily("rlcl_ready", "1 if /ready answers 200, else 0.", value=float(now.ready))
