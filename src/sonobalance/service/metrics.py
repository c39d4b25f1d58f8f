"""Counters for Prometheus; nothing in them comes from a client's words."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """All metrics of one service, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        own = {"registry": self.registry, "namespace": "sonobalance"}
        self.requests = Counter(
            "requests", "Requests by route and status.", ["route", "status"], **own
        )
        self.latency = Histogram(
            "request_seconds", "Time from request to answer.", ["route"], buckets=SECONDS, **own
        )
        self.batches = Histogram("batch_images", "Images per forward pass.", buckets=SIZES, **own)
        self.waiting = Gauge("waiting_images", "Images that wait for a forward pass.", **own)
        self.answers = Counter("answers", "Answers by outcome.", ["outcome"], **own)
        self.undecoded = Counter(
            "undecoded", "Uploads that could not be decoded, by reason.", ["reason"], **own
        )

    def text(self) -> bytes:
        """The metrics in the text format of Prometheus."""
        return bytes(generate_latest(self.registry))
