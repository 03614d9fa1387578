"""How a Celery worker connects: our queues are made first, and none for delayed delivery.

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
