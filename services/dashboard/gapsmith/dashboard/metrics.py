"""Prometheus metrics: requests of this process, and the state of the system as the database has it."""

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gapsmith.core.errors import UnavailableError
from gapsmith.store import campaigns, health, heartbeats, jobs, outbox, tasks
from gapsmith.store.database import Connection, Database
from gapsmith.store.jobs import JobFilter

_ENDED_WITHIN_S: Final = 3600.0


def _gauges(connection: Connection) -> Iterator[GaugeMetricFamily]:
    """The state of the system, asked now."""
    beats = heartbeats.listed(connection)
    recent = jobs.counts(connection, JobFilter(), ended_within_s=_ENDED_WITHIN_S)
    ages = {one.service: min(other.age_s for other in beats if other.service == one.service) for one in beats}
    states = Tally(one.state for one in campaigns.every(connection))
    unpublished, size = outbox.backlog(connection).events, health.server(connection).bytes
    yield _family("gapsmith_campaigns", "campaigns", "state", states)
    yield _family("gapsmith_calculations", "calculations that are open, or ended within an hour", "state", recent)
    open_tasks = tasks.open_by_service(connection)
    yield _family("gapsmith_open_tasks", "units of long work that wait or run", "service", open_tasks)
    yield _family("gapsmith_heartbeat_age_seconds", "since a service was last heard of", "service", ages)
    words = "events that Kafka does not have yet"
    yield _family("gapsmith_unpublished_events", words, "where", {"outbox": unpublished})
    yield _family("gapsmith_database_bytes", "size", "where", {"postgres": size})


def _family(name: str, words: str, label: str, values: Mapping[Any, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, words, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], float(value))
    return family


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
                found += _gauges(connection)
            up.add_metric([], 1.0)
        except UnavailableError:
            up.add_metric([], 0.0)
            return [up]
        return found
