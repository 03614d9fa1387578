"""How far consumers are behind the end of their topics, as Kafka counts it."""

from collections.abc import Sequence

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from gapsmith.bus.kafka import GROUP_PREFIX, options
from gapsmith.core.errors import UnavailableError
from gapsmith.core.settings import Settings


def behind(settings: Settings, consumers: Sequence[str], topics: Sequence[str]) -> dict[str, int]:
    """Messages that each consumer has not committed yet; one that never committed anything is left out.

    Asks without joining any group, so that no rebalance happens.

    Raises:
        UnavailableError: the brokers cannot be reached, or do not say.
    """
    found: dict[str, int] = {}
    for name in consumers:
        try:
            asking = KafkaConsumer(
                **options(settings),
                group_id=f"{GROUP_PREFIX}{name}",
                enable_auto_commit=False,
                request_timeout_ms=5_000,
            )
            try:
                places = [
                    TopicPartition(topic, number)
                    for topic in topics
                    for number in asking.partitions_for_topic(topic) or ()
                ]
                done = {place: asking.committed(place) for place in places}
                known = [place for place, offset in done.items() if offset is not None]
                if known:
                    ends = asking.end_offsets(known)
                    found[name] = sum(max(0, ends[place] - done[place]) for place in known)
            finally:
                asking.close(autocommit=False, timeout_ms=2000)
        except (KafkaError, OSError, ValueError, AssertionError) as error:
            raise UnavailableError(f"Kafka at {settings.kafka_bootstrap} does not say: {error!r}") from error
    return found
