"""Prometheus metrics: requests of this process, and the state of the system as the database has it."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gapsmith.core.errors import UnavailableError
from gapsmith.store.database import Database

_GAUGES: Final = (  # name, help, label, query of label and value
    ("gapsmith_campaigns", "campaigns", "state", "SELECT state AS label, count(*) AS n FROM campaigns GROUP BY 1"),
    (
        "gapsmith_calculations",
        "calculations that are open, or ended within an hour",
        "state",
        """SELECT state AS label, count(*) AS n FROM calculations
           WHERE state IN ('queued', 'running') OR finished_at > now() - interval '1 hour' GROUP BY 1""",
    ),
    (
        "gapsmith_open_tasks",
        "units of long work that wait or run",
        "service",
        "SELECT service AS label, count(*) AS n FROM tasks WHERE state IN ('pending', 'running') GROUP BY 1",
    ),
    (
        "gapsmith_heartbeat_age_seconds",
        "since a service was last heard of",
        "service",
        "SELECT service AS label, extract(epoch FROM now() - max(seen_at))::float8 AS n FROM heartbeats GROUP BY 1",
    ),
    (
        "gapsmith_unpublished_events",
        "events that Kafka does not have yet",
        "where",
        "SELECT 'outbox' AS label, count(*) AS n FROM outbox WHERE published_at IS NULL",
    ),
    (
        "gapsmith_database_bytes",
        "size",
        "where",
        "SELECT 'postgres' AS label, pg_database_size(current_database()) AS n",
    ),
)


class Metrics:
    """The metrics of one application.

    Args:
        database: asked at every scrape.
    """

    def __init__(self, database: Database) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "gapsmith_http_requests", "requests", ["method", "route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "gapsmith_http_request_seconds",
            "time to answer; streams until they end",
            ["route"],
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 60),
            registry=self.registry,
        )
        self.browsers = Gauge("gapsmith_live_browsers", "browsers that watch", registry=self.registry)
        self.registry.register(_Stored(database))

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; ``route`` is its pattern, so that the number of series stays small."""
        known = method if method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)


class _Stored(Collector):
    """Gauges out of Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> Iterable[Metric]:
        """Nothing is asked at registration."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Ask now."""
        up = GaugeMetricFamily("gapsmith_database_up", "1 if Postgres answers")
        found: list[Metric] = [up]
        try:
            with self._database.transaction() as connection:
                for name, words, label, query in _GAUGES:
                    family = GaugeMetricFamily(name, words, labels=[label])
                    for row in connection.execute(query):
                        family.add_metric([str(row["label"])], float(row["n"]))
                    found.append(family)
            up.add_metric([], 1.0)
        except UnavailableError:
            up.add_metric([], 0.0)
            return [up]
        return found
