"""Kafka: the one place that knows kafka-python."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError

from gapsmith.core.errors import UnavailableError
from gapsmith.core.settings import Settings

GROUP_PREFIX = "gapsmith."  # of consumer groups
SESSION_MS, HEARTBEAT_MS = 6_000, 2_000  # joining a group takes half the session time-out on the embedded broker


@dataclass(frozen=True)
class Record:
    """A message as it lies on its topic."""

    topic: str
    key: bytes | None
    value: bytes


def options(settings: Settings) -> dict[str, Any]:
    """Where the brokers are and how to reach them; raises UnavailableError if nobody said."""
    if not settings.kafka_bootstrap:
        raise UnavailableError(
            "no Kafka broker is known: start the embedded stack with 'gapsmith up', or set GAPSMITH_KAFKA_BOOTSTRAP"
        )
    return {
        "bootstrap_servers": settings.kafka_bootstrap.split(","),
        "bootstrap_timeout_ms": 10_000,
        "reconnect_backoff_max_ms": 1_000,
        **settings.kafka_options,
    }


class Producer:
    """Publishes messages and waits for the broker's word that it has them."""

    def __init__(self, settings: Settings) -> None:
        self._address = settings.kafka_bootstrap
        try:
            self._producer = KafkaProducer(
                **options(settings),
                acks="all",
                enable_idempotence=False,  # such a producer never recovers from a broker that forgot it; inboxes make up
                request_timeout_ms=5_000,
                delivery_timeout_ms=10_000,
                max_block_ms=10_000,
                linger_ms=0,
            )
        except (KafkaError, OSError, ValueError) as error:
            raise UnavailableError(f"Kafka at {self._address} cannot be reached: {error}") from error

    def send(self, records: Sequence[Record], *, timeout_s: float = 10.0) -> None:
        """Publish, in order, and return when all are acknowledged; raises UnavailableError."""
        try:
            waiting = [self._producer.send(record.topic, value=record.value, key=record.key) for record in records]
            self._producer.flush(timeout=timeout_s)
            for future in waiting:
                future.get(timeout=timeout_s)
        except (KafkaError, OSError, TimeoutError) as error:
            raise UnavailableError(f"Kafka at {self._address} does not take messages: {error!r}") from error

    def close(self) -> None:
        """Close the connections."""
        self._producer.close(timeout=2)


class Consumer:
    """Reads the messages of some topics as a member of a group; offsets are committed by hand, after handling."""

    def __init__(self, settings: Settings, group: str, topics: Sequence[str]) -> None:
        self._address = settings.kafka_bootstrap
        try:
            self._consumer = KafkaConsumer(
                *topics,
                **options(settings),
                group_id=f"{GROUP_PREFIX}{group}",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                session_timeout_ms=SESSION_MS,
                heartbeat_interval_ms=HEARTBEAT_MS,
                max_poll_records=100,
            )
        except (KafkaError, OSError, ValueError) as error:
            raise UnavailableError(f"Kafka at {self._address} cannot be reached: {error}") from error

    def poll(self, timeout_s: float) -> Iterator[Record]:
        """Messages that came, in order of each partition; raises UnavailableError."""
        try:
            batches = self._consumer.poll(timeout_ms=int(timeout_s * 1000))
        except (KafkaError, OSError) as error:
            raise UnavailableError(f"Kafka at {self._address} does not answer: {error!r}") from error
        for messages in batches.values():
            for message in messages:
                yield Record(message.topic, message.key, message.value)

    def commit(self) -> None:
        """Say that everything polled so far is handled; raises UnavailableError."""
        try:
            self._consumer.commit()
        except (KafkaError, OSError) as error:
            raise UnavailableError(f"Kafka at {self._address} does not take a commit: {error!r}") from error

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close(autocommit=False, timeout_ms=2000)
