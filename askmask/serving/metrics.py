"""Figures of a running server for Prometheus; each server has its own registry."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
ROWS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """What is counted. Labels are routes, statuses, models and kinds: nothing that a caller wrote."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        here = self.registry
        self._requests = Counter("askmask_requests", "Requests", ["route", "status"], registry=here)
        self._seconds = Histogram(
            "askmask_request_seconds", "Of a request", ["route"], registry=here, buckets=SECONDS
        )
        self._jobs = Counter("askmask_jobs", "Work on models that ended", ["kind", "state"], registry=here)
        self._rows = Histogram(
            "askmask_batch_prompts", "Prompts answered in one call", ["model"], registry=here, buckets=ROWS
        )
        self._model = Counter("askmask_model_seconds", "Of models at work", ["model"], registry=here)
        self._gauges: list[Gauge] = []

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show a value as it is at the time of asking."""
        gauge = Gauge(name, text, registry=self.registry)
        gauge.set_function(value)
        self._gauges.append(gauge)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def job(self, kind: str, state: str) -> None:
        """Count a job that ended."""
        self._jobs.labels(kind, state).inc()

    def batch(self, model: str, rows: int, seconds: float) -> None:
        """Count one call of a back-end."""
        self._rows.labels(model).observe(rows)
        self._model.labels(model).inc(seconds)

    def text(self) -> bytes:
        """Return all figures in Prometheus' text form."""
        return generate_latest(self.registry)
