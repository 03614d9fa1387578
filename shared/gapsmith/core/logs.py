"""Structured logs to standard error, whose lines say which campaign, event and calculation they concern."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict

from gapsmith.core.settings import Settings
from gapsmith.core.terminal import visible


class _Unfailing:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def unfailing(stream: TextIO) -> TextIO:
    """A stream for logs: a full disk takes a line away, and never a thread that had something to say."""
    return cast(TextIO, _Unfailing(stream))


def configure_logging(settings: Settings) -> None:
    """Log to standard error: JSON lines, or text for people."""
    renderer = structlog.processors.JSONRenderer() if settings.log_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _visible,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.log_level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=unfailing(sys.stderr)),
    )
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # it calls every reconnect an error; the inlet says it once


def _visible(_: object, __: str, event: EventDict) -> EventDict:
    return {key: visible(value) if isinstance(value, str) else value for key, value in event.items()}


@contextmanager
def concerning(**ids: object) -> Iterator[None]:
    """Add ids (``campaign_id``, ``event_id``, ``calculation_id``) to every line that this thread logs in the block.

    Those that are None are left out.
    """
    with structlog.contextvars.bound_contextvars(**{name: str(id_) for name, id_ in ids.items() if id_ is not None}):
        yield
