"""What the server counts, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields

from forethought.replies import Called, Ended, Event, Piece, ReplyUsage
from forethought.serving.web import prometheus

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_TENTHS = tuple(tenth / 10 for tenth in range(1, 11))


class Metrics:
    """One server's counts, in a registry of their own; safe to count from threads."""

    content_type = prometheus.CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        registry = self._registry = prometheus.CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> prometheus.Counter:
            return prometheus.Counter(f"forethought_{name}", text, labels, registry=registry)

        def histogram(
            name: str, text: str, buckets: tuple[float, ...] = _SECONDS
        ) -> prometheus.Histogram:
            name = f"forethought_{name}"
            return prometheus.Histogram(name, text, ["model"], buckets=buckets, registry=registry)

        def gauge(name: str, text: str) -> prometheus.Gauge:
            return prometheus.Gauge(f"forethought_{name}", text, registry=registry)

        self._tokens = counter("tokens", "Tokens by role.", "model", "role")
        self._ends = counter("replies", "Replies by how they ended.", "model", "finish_reason")
        self._statuses = counter("responses", "HTTP responses.", "path", "status")
        self._accepted = histogram("acceptance", "Accepted share of what was drafted.", _TENTHS)
        self._waited = histogram("wait_seconds", "Until a reply's turn came.")
        self._first = histogram("first_seconds", "From a reply's turn to its first piece.")
        self._whole = histogram("reply_seconds", "From a reply's turn to its end.")
        self._waiting = gauge("waiting", "Replies that wait for their turn.")
        self._running = gauge("running", "Replies that are being written.")

    def watch(self, waiting: Callable[[], int], running: Callable[[], int]) -> None:
        """Ask for the queue's length and the replies in work whenever metrics are read."""
        self._waiting.set_function(waiting)
        self._running.set_function(running)

    def responded(self, path: str, status: int) -> None:
        """Count a response."""
        self._statuses.labels(path, str(status)).inc()

    def timing(self, model: str, *, waited: float) -> Timing:
        """The clock of a reply whose turn has come after `waited` seconds."""
        self._waited.labels(model).observe(waited)
        return Timing(self, model)

    def spoke(self, model: str, seconds: float) -> None:
        """Count a reply's first piece."""
        self._first.labels(model).observe(seconds)

    def ended(self, model: str, end: Ended, seconds: float) -> None:
        """Count a reply."""
        self._whole.labels(model).observe(seconds)
        self._ends.labels(model, end.finish_reason).inc()
        for usage in fields(ReplyUsage):
            role = usage.name.removesuffix("_tokens")
            self._tokens.labels(model, role).inc(getattr(end.usage, usage.name))
        if isinstance(rate := end.details.get("acceptance_rate"), float):
            self._accepted.labels(model).observe(rate)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return prometheus.generate_latest(self._registry)


@dataclass(slots=True)
class Timing:
    """The clock of one reply."""

    metrics: Metrics
    model: str
    began: float = field(default_factory=time.monotonic)
    is_silent: bool = True

    def note(self, event: Event) -> None:
        """Count an event as it happens."""
        seconds = time.monotonic() - self.began
        if self.is_silent and isinstance(event, Piece | Called):
            self.is_silent = False
            self.metrics.spoke(self.model, seconds)
        if isinstance(event, Ended):
            self.metrics.ended(self.model, event, seconds)
