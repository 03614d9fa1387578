"""Celery as the bell of the DFT queue: a message wakes a worker, which then looks into Postgres for the most urgent job.

Because leases in Postgres decide who computes what, a message that is lost, repeated or late does no harm; the dft_queue
service rings again for what nobody came for. For the same reason messages carry a calculation's id and nothing else, and
have no priority: what is urgent stands in Postgres, where it can still be changed.

On RabbitMQ the queues are quorum queues, and a message that was given back too often (its consumers died, or refused it)
moves through the exchange ``gapsmith.dead`` into the queue of that name. On Redis and Valkey they are plain lists.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

from amqp.exceptions import AMQPError, MessageNacked, PreconditionFailed
from celery import Celery
from kombu import entity
from kombu.exceptions import OperationalError

from gapsmith.core.errors import InputError, UnavailableError
from gapsmith.core.settings import Settings

QUEUES: Final[Mapping[str, str]] = {"xtb": "gapsmith.xtb", "dft": "gapsmith.dft"}  # names at the broker, by kind of job
EXCHANGE: Final = "gapsmith"
DEAD: Final = "gapsmith.dead"
TASK: Final = "gapsmith.dft_queue.calculate"

Exchange: Any = entity.Exchange  # kombu has no types
Queue: Any = entity.Queue

REDIS: Final = ("redis", "rediss")
RABBITMQ: Final = ("amqp", "amqps", "pyamqp")
LONGEST_JOB_S: Final = 24 * 3600  # until then the broker leaves an unacknowledged message alone; the leases act earlier
MOST_RETURNS: Final = 5  # of one message; more than lost workers until a calculation is quarantined
MOST_DEAD: Final = 10_000  # messages kept for people to look at
ANSWER_S: Final = 5.0  # a broker that is silent for longer counts as away


def make_app(settings: Settings) -> Celery:
    """The Celery application of the settings' broker.

    Raises:
        UnavailableError: the settings name no broker.
        InputError: they name one of a kind that is not supported.
    """
    if settings.celery_broker_url is None:
        raise UnavailableError(
            "no broker for DFT jobs is known: start the embedded stack with 'gapsmith up', or set GAPSMITH_CELERY_BROKER_URL"
        )
    url = settings.celery_broker_url.get_secret_value()
    scheme = url.partition("://")[0]
    if scheme not in REDIS + RABBITMQ:
        raise InputError(
            f"GAPSMITH_CELERY_BROKER_URL names a broker of the kind {scheme[:20]!r}; "
            "redis://, rediss:// (Redis, Valkey), amqp:// and amqps:// (RabbitMQ) are supported"
        )
    app = Celery("gapsmith", broker=url, set_as_current=False)
    app.conf.update(
        task_queues=[_work_queue(name) for name in QUEUES.values()],
        task_default_queue=QUEUES["dft"],
        task_default_exchange=EXCHANGE,
        task_create_missing_queues=False,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_consumer="gapsmith.dft_queue.consumer:Consumer",
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=(
            {"visibility_timeout": LONGEST_JOB_S, "socket_connect_timeout": ANSWER_S, "socket_keepalive": True}
            if scheme in REDIS
            else {"confirm_publish": True}
        ),
    )
    return app


def declare(app: Celery) -> None:
    """Make what is missing at the broker: both queues and, on RabbitMQ, the dead-letter exchange with its queue.

    Raises:
        UnavailableError: the broker does not answer, or holds a queue of that name with other properties.
    """
    with _channel(app) as channel:
        declare_on(app, channel)


def ring(app: Celery, queue: str, calculation_ids: Iterable[UUID]) -> None:
    """Send one message per calculation to the workers of a kind of job (``xtb`` or ``dft``).

    Raises:
        UnavailableError: the broker does not answer, or refuses a message.
    """
    with _channel(app) as channel:
        declare_on(app, channel)
        producer = app.amqp.Producer(channel)
        for calculation_id in calculation_ids:
            app.send_task(TASK, args=[str(calculation_id)], queue=QUEUES[queue], producer=producer, retry=False)


def depth(app: Celery, queue: str) -> int:
    """Messages of a kind of job that wait in the broker; raises UnavailableError if it does not answer."""
    with _channel(app) as channel:
        return int(app.amqp.queues[QUEUES[queue]].bind(channel).queue_declare().message_count)


def dead(app: Celery) -> int:
    """Messages that were given up; none on Redis. Raises UnavailableError if the broker does not answer."""
    if not _is_rabbitmq(app):
        return 0
    with _channel(app) as channel:
        return int(_dead_queue().bind(channel).queue_declare().message_count)


def declare_on(app: Celery, channel: Any) -> None:
    """The same on a channel of one's own; raises the transport's errors."""
    if _is_rabbitmq(app):
        _dead_queue().bind(channel).declare()
    for queue in app.amqp.queues.values():
        queue.bind(channel).declare()


def _is_rabbitmq(app: Celery) -> bool:
    return str(app.conf.broker_url).startswith(RABBITMQ)


@contextmanager
def _channel(app: Celery) -> Iterator[Any]:
    impatient = {} if _is_rabbitmq(app) else {"socket_timeout": ANSWER_S}  # a worker's own connection must be patient
    connection = app.connection_for_write(connect_timeout=ANSWER_S, transport_options=impatient)
    try:
        connection.ensure_connection(max_retries=max(len(connection.alt) - 1, 0))  # each address of a cluster once
        if _is_rabbitmq(app):
            connection.connection.transport.sock.settimeout(ANSWER_S)
        yield connection.channel()
    except PreconditionFailed as error:
        raise UnavailableError(mismatch(connection.as_uri(), str(error.reply_text))) from error
    except (OperationalError, OSError, AMQPError, MessageNacked, *connection.connection_errors) as error:
        connection.collect()  # without a farewell, which a broker that hangs would not answer
        raise UnavailableError(
            f"the broker of the DFT jobs at {connection.as_uri()} cannot be reached, or refuses: "
            f"{error or type(error).__name__}; start it, or correct GAPSMITH_CELERY_BROKER_URL"
        ) from error
    finally:
        connection.release()


def mismatch(uri: str, text: str) -> str:
    """What to tell a person whose RabbitMQ has a queue that is not as we declare it: ``text`` is what it said."""
    found = re.search(r"queue '([^']+)' in vhost '([^']+)'", text)
    command = f": rabbitmqctl --vhost '{found[2]}' delete_queue '{found[1]}'" if found else ""
    return (
        f"RabbitMQ at {uri} holds a queue that another version of gapsmith, or another program, made with other "
        f"properties ({text}). Stop the workers and delete it{command}. It is created again, and no calculation is lost, "
        "for they are in Postgres"
    )


def _work_queue(name: str) -> Any:
    arguments = {  # Redis and Valkey pass them over
        "x-queue-type": "quorum",  # Celery too looks here, and then does without a QoS of the whole channel
        "x-dead-letter-exchange": DEAD,
        "x-delivery-limit": MOST_RETURNS,
        "x-consumer-timeout": LONGEST_JOB_S
        * 1000,  # RabbitMQ's own is half an hour; servers before 3.11.15 have only that
    }
    exchange = Exchange(EXCHANGE, type="direct", durable=True)
    return Queue(name, exchange, routing_key=name, durable=True, queue_arguments=arguments)


def _dead_queue() -> Any:
    arguments = {"x-queue-type": "quorum", "x-max-length": MOST_DEAD}
    return Queue(DEAD, Exchange(DEAD, type="fanout", durable=True), durable=True, queue_arguments=arguments)
