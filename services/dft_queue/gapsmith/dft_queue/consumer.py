"""How a Celery worker connects: our queues are made first, and none for delayed delivery.

Celery would make 28 queues more at RabbitMQ for jobs that are to start later, which ours never are.
"""

from typing import Any

from amqp.exceptions import PreconditionFailed
from celery.bootsteps import StartStopStep
from celery.worker import consumer as celery_consumer

from gapsmith.core.errors import UnavailableError
from gapsmith.dft_queue.app import declare_on, mismatch

_Base: Any = celery_consumer.Consumer  # Celery has no types
_UNWANTED = ":DelayedDelivery"


class Topology(StartStopStep):  # type: ignore[misc]
    """Declares everything at each connection, for the broker may be a new one."""

    requires = (celery_consumer.Connection,)

    def start(self, parent: Any) -> None:
        """Raises UnavailableError, which ends the worker, if a queue has other properties."""
        try:
            with parent.connection.channel() as channel:
                declare_on(parent.app, channel)
        except PreconditionFailed as error:
            raise UnavailableError(mismatch(parent.connection.as_uri(), str(error.reply_text))) from error


class Blueprint(_Base.Blueprint):  # type: ignore[misc]
    """The steps in which a worker connects."""

    default_steps = (
        *(step for step in _Base.Blueprint.default_steps if not step.endswith(_UNWANTED)),
        f"{__name__}:{Topology.__name__}",
    )


class Consumer(_Base):  # type: ignore[misc]
    """What ``worker_consumer`` names."""

    Blueprint = Blueprint
