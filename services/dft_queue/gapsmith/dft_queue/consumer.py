"""Celery's consumer without delayed delivery, which would make 28 queues more at RabbitMQ for jobs that are never delayed."""

from typing import Any

from celery.worker import consumer as celery_consumer

_Base: Any = celery_consumer.Consumer  # Celery has no types
_UNWANTED = ":DelayedDelivery"


class Blueprint(_Base.Blueprint):  # type: ignore[misc]
    """The steps in which a worker connects."""

    default_steps = [step for step in _Base.Blueprint.default_steps if not step.endswith(_UNWANTED)]  # noqa: RUF012  # as Celery's own


class Consumer(_Base):  # type: ignore[misc]
    """What ``worker_consumer`` names."""

    Blueprint = Blueprint
