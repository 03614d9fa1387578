"""Kafka's topics: one per event class and one for dead letters, created before any service starts."""

import contextlib
import logging
from collections.abc import Iterator, Mapping

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from gapsmith.core.errors import UnavailableError
from gapsmith.core.messages import DEAD_LETTER_TOPIC, EVENTS

PARTITIONS = 4  # also what the embedded broker gives a topic that a client asked for too early


def topic_names() -> list[str]:
    """Every topic that gapsmith uses."""
    return sorted({event.TOPIC for event in EVENTS.values()} | {DEAD_LETTER_TOPIC})


@contextlib.contextmanager
def _admin(bootstrap: str, options: Mapping[str, object] | None, timeout_s: float) -> Iterator[KafkaAdminClient]:
    """An administration client whose every failure is one error with the address in it."""
    milliseconds = int(timeout_s * 1000)
    logger = logging.getLogger("kafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # a refused connection is told by the exception alone
    try:
        client = KafkaAdminClient(
            bootstrap_servers=bootstrap,
            bootstrap_timeout_ms=milliseconds,
            request_timeout_ms=milliseconds,
            **(options or {}),
        )
        try:
            yield client
        finally:
            client.close()
    except (KafkaError, OSError) as error:
        raise UnavailableError(
            f"Kafka at {bootstrap} cannot be used ({type(error).__name__}); start the embedded one with `gapsmith up` "
            "or correct GAPSMITH_KAFKA_BOOTSTRAP and GAPSMITH_KAFKA_OPTIONS"
        ) from error
    finally:
        logger.setLevel(level)


def cluster_id(bootstrap: str, *, options: Mapping[str, object] | None = None, timeout_s: float = 10.0) -> str:
    """The cluster's id; it changes when the embedded broker was restarted and has forgotten everything.

    Raises:
        UnavailableError: no broker answers.
    """
    with _admin(bootstrap, options, timeout_s) as client:
        return str(client.describe_cluster()["cluster_id"])


def create_topics(
    bootstrap: str,
    *,
    options: Mapping[str, object] | None = None,
    partitions: int = PARTITIONS,
    replication: int = -1,
    timeout_s: float = 30.0,
) -> list[str]:
    """Create the topics that are missing.

    Args:
        bootstrap: host:port[,host:port].
        options: passed to kafka-python as they are.
        partitions: of a new topic.
        replication: copies of a new topic's partitions; -1 is the brokers' default.
        timeout_s: for the whole.

    Returns:
        Names of the topics that were created.

    Raises:
        UnavailableError: no broker answers or it refuses.
    """
    created = []
    with _admin(bootstrap, options, timeout_s) as client:
        present = set(client.list_topics())
        for name in topic_names():
            if name in present:
                continue
            with contextlib.suppress(TopicAlreadyExistsError):  # another process was faster
                client.create_topics([NewTopic(name, num_partitions=partitions, replication_factor=replication)])
                created.append(name)
    return created
