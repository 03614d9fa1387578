"""How a Celery worker connects: our queues are made first, none for delayed delivery, and a lost connection is noticed.

Celery would make 28 queues more at RabbitMQ for jobs that are to start later, which ours never are.
"""

from typing import Any

from amqp.exceptions import PreconditionFailed
from celery.worker import consumer as celery_consumer

from gapsmith.core.errors import UnavailableError
from gapsmith.dft_queue.app import declare_on, mismatch

_Base: Any = celery_consumer.Consumer  # Celery has no types
_UNWANTED = ":DelayedDelivery"


class Blueprint(_Base.Blueprint):  # type: ignore[misc]  # Celery has no types
    """The steps in which a worker connects."""

    default_steps = tuple(step for step in _Base.Blueprint.default_steps if not step.endswith(_UNWANTED))


class Consumer(_Base):  # type: ignore[misc]  # Celery has no types
    """What ``worker_consumer`` names."""

    Blueprint = Blueprint

    def connect(self) -> Any:
        """Connect and declare everything, each time, for the broker may be a new one.

        Raises:
            UnavailableError: a queue has other properties; it ends the worker.
        """
        connection = super().connect()
        try:
            with connection.channel() as channel:
                declare_on(self.app, channel)
        except PreconditionFailed as error:
            raise UnavailableError(mismatch(connection.as_uri(), str(error.reply_text))) from error
        return connection

    def call_soon_ack(self, p: Any, *args: Any, **kwargs: Any) -> Any:
        """Let an acknowledgement that fails end the connection, so that a new one is made.

        Celery only logs it. On Redis and Valkey the message would count against the prefetch limit for ever: nothing more is
        asked of the broker, so nothing could fail, and the worker would wait for good.

        Args:
            p: a message's ``ack_log_error`` or ``reject_log_error``.
            args: a logger, the errors to log and forget, and more.
            kwargs: for ``p``.
        """
        logger, _, *more = args
        return super().call_soon_ack(p, logger, (), *more, **kwargs)
