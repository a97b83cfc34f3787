"""What Prometheus comes to fetch. No label has a value that a client chose."""

from collections.abc import Collection
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
_NO_TASK = "unknown_task"


class Metrics:
    """Counters of one server; an observer of its service."""

    def __init__(self) -> None:
        # When each counter began would be a third of what thousands of tasks have to tell.
        disable_created_metrics()
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)

        def of(kind: type, name: str, said: str, labels: Collection[str] = (), **more: Any) -> Any:
            return kind(f"arcvit_{name}", said, labels, registry=self._registry, **more)

        self._requests = of(
            Counter,
            "requests",
            "Requests by what they were for and how they ended",
            ("for", "code"),
        )
        self._in_flight = of(Gauge, "requests_in_flight", "Requests that are being answered")
        self._seconds = of(
            Histogram,
            "request_seconds",
            "From when a request came until its answer",
            ("task",),
            buckets=_SECONDS,
        )
        self._images = of(Counter, "images", "Images answered", ("task",))
        self._errors = of(Counter, "errors", "Requests refused", ("task", "kind"))
        self._queue = of(Gauge, "queue_images", "Images that wait")
        self._batch = of(Histogram, "batch_images", "Images in a pass of the model", buckets=_SIZES)
        self._batch_seconds = of(
            Histogram, "batch_seconds", "Seconds of a pass of the model", buckets=_SECONDS
        )
        self._resident = of(Gauge, "resident_adapters", "Adapters on the device")
        self._replicas = of(Gauge, "replicas", "Models that answer; one without --ray")
        self._replicas.set(1)
        self._tasks = of(Gauge, "registered_tasks", "Tasks that may be asked")

    def queued(self, count: int) -> None:
        """So many images wait now."""
        self._queue.set(count)

    def batch(self, size: int, seconds: float) -> None:
        """A pass of the model is over."""
        self._batch.observe(size)
        self._batch_seconds.observe(seconds)

    def answered(self, task: str, seconds: float, count: int) -> None:
        """A request of so many images was answered, so long after it came."""
        self._seconds.labels(task).observe(seconds)
        self._images.labels(task).inc(count)

    def failed(self, task: str, kind: str) -> None:
        """A request was refused."""
        self._errors.labels("" if kind == _NO_TASK else task, kind).inc()

    def resident(self, count: int) -> None:
        """So many adapters are on the device now."""
        self._resident.set(count)

    def replicas(self, count: int) -> None:
        """So many replicas answer now."""
        self._replicas.set(count)

    def began(self) -> None:
        """A request has come, of whatever kind."""
        self._in_flight.inc()

    def ended(self, what: str, code: int) -> None:
        """A request is over; 499 where its client went away."""
        self._in_flight.dec()
        self._requests.labels(what, str(code)).inc()

    def text(self, tasks: Collection[str]) -> bytes:
        """All of it, as Prometheus reads it; what is no task any more is forgotten."""
        there = set(tasks)
        self._tasks.set(len(there))
        for family in (self._seconds, self._images, self._errors):
            for labels in list(family._metrics):
                if labels[0] and labels[0] not in there:
                    family.remove(*labels)
        return generate_latest(self._registry)
