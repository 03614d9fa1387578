"""Celery as the bell of the DFT queue: a message wakes a worker, which then looks into Postgres for the most urgent job.

Because leases in Postgres decide who computes what, a message that is lost, repeated or late does no harm; the dft_queue
service rings again for what nobody came for.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from celery import Celery
from kombu.entity import Queue
from kombu.exceptions import OperationalError

from gapsmith.core.errors import UnavailableError
from gapsmith.core.settings import Settings

QUEUE = "gapsmith.dft"
TASK = "gapsmith.dft_queue.calculate"
VISIBILITY_TIMEOUT_S = 24 * 3600  # Redis hands out messages again that were not acknowledged; the leases act earlier


def make_app(settings: Settings) -> Celery:
    """The Celery application of the settings' broker; raises UnavailableError if they name none."""
    if settings.celery_broker_url is None:
        raise UnavailableError(
            "no broker for DFT jobs is known: start the embedded stack with 'gapsmith up', or set GAPSMITH_CELERY_BROKER_URL"
        )
    url = settings.celery_broker_url.get_secret_value()
    app = Celery("gapsmith", broker=url, set_as_current=False)
    redis = url.startswith(("redis", "valkey"))
    app.conf.update(
        task_queues=[_queue()],
        task_default_queue=QUEUE,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=(
            {"visibility_timeout": VISIBILITY_TIMEOUT_S, "socket_connect_timeout": 5, "socket_keepalive": True}
            if redis
            else {}
        ),
    )
    return app


def ring(app: Celery, calculation_ids: Iterable[UUID]) -> None:
    """Send one message per calculation; raises UnavailableError if the broker does not answer."""
    with _connection(app) as connection:
        producer = app.amqp.Producer(connection)
        for calculation_id in calculation_ids:
            app.send_task(TASK, args=[str(calculation_id)], queue=QUEUE, producer=producer, retry=False)


def depth(app: Celery) -> int:
    """Messages that wait in the broker; raises UnavailableError if it does not answer."""
    with _connection(app) as connection, connection.channel() as channel:
        return int(_queue().bind(channel).queue_declare().message_count)


@contextmanager
def _connection(app: Celery) -> Iterator[Any]:
    with app.connection_for_write(connect_timeout=5) as connection:
        try:
            yield connection
        except (OperationalError, OSError, *connection.connection_errors, *connection.channel_errors) as error:
            raise UnavailableError(
                f"the broker of the DFT jobs at {connection.as_uri()} cannot be reached: {error}"
            ) from error


def _queue() -> Any:
    make: Any = Queue  # kombu has no types
    # A quorum queue of RabbitMQ has no QoS of a whole channel, and Celery sees that it is one by this argument alone;
    # Redis and Valkey pass it over.
    return make(QUEUE, durable=True, queue_arguments={"x-queue-type": "quorum"})
