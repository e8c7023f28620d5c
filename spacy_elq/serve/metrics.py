"""Counts and times for Prometheus; those of all workers, if there are several."""

from __future__ import annotations

import os

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

# Where workers keep their counts; prometheus_client reads this variable when it is imported.
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
disable_created_metrics()  # one more series for each of the others
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """What a service counts."""

    def __init__(self) -> None:
        self._own = own = CollectorRegistry()
        self.requests = Counter(
            "elq_requests", "Requests", ("method", "path", "status"), registry=own
        )
        self.seconds = Histogram(
            "elq_request_seconds", "Seconds to answer", ("path",), buckets=SECONDS, registry=own
        )
        self.batches = Histogram(
            "elq_batch_texts", "Texts linked together", buckets=SIZES, registry=own
        )
        self.texts = Counter("elq_texts", "Texts linked", registry=own)
        self.chars = Counter("elq_characters", "Characters linked", registry=own)
        self.links = Counter("elq_links", "Links found", registry=own)
        self.entities = Gauge(
            "elq_entities",
            "Entities of the knowledge base",
            registry=own,
            multiprocess_mode="mostrecent",
        )

    def count_request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count an answered request.

        path (str): The route, not the address: ids and texts are no labels.
        """
        self.requests.labels(method, path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)

    def count_batch(self, requests: int, texts: int) -> None:
        """Count texts that were linked together."""
        self.batches.observe(texts)
        self.texts.inc(texts)

    def export(self) -> bytes:
        """RETURNS (bytes): All numbers, in the text format of Prometheus."""
        if MULTIPROCESS not in os.environ:
            return generate_latest(self._own)
        of_all = CollectorRegistry()
        MultiProcessCollector(of_all)
        return generate_latest(of_all)
