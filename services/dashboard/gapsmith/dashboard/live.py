"""What is new: one poller of the outbox for all browsers. A notification of Postgres is a hint to look at once."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import psycopg
import structlog

from gapsmith.core.stopping import StopFlag
from gapsmith.store import events, outbox
from gapsmith.store.database import Database

log = structlog.get_logger()

POLL_S: Final = 5.0  # without a notification
RETRY_S: Final = 1.0  # after an outage
PAUSE_S: Final = 0.3  # between two looks: a burst of events is one update
LOOK_BACK: Final = 500  # events are numbered before they commit, so that a late one may have a lower number


@dataclass(eq=False)
class Reader:
    """A browser that listens."""

    campaign: str | None  # name; None: all
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class Hub:
    """Watches the outbox and wakes whom an event concerns.

    Args:
        database: whose outbox it watches.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._readers: set[Reader] = set()
        self._known: set[int] = set()
        self._stop = StopFlag()
        self._begun = asyncio.Event()
        self.sequence = 0  # of the newest event; 0: it was not looked yet, or nothing ever happened
        self.problem: str | None = None  # why there is no news

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch, in a thread; readers live in ``loop``."""
        threading.Thread(target=self._watch, args=(loop,), name="live", daemon=True).start()

    def stop(self) -> None:
        """End watching; readers are woken and see ``stopping``."""
        self._stop.set()
        self._begun.set()
        for reader in self._readers:
            reader.woken.set()

    @property
    def stopping(self) -> bool:
        """Whether the server is about to end."""
        return self._stop.is_set()

    @property
    def readers(self) -> int:
        """How many browsers listen."""
        return len(self._readers)

    async def begun(self, most_s: float) -> None:
        """Wait for the first look: before it no number says what a page has seen.

        Args:
            most_s: seconds after which the wait ends all the same (the database may be away).
        """
        with suppress(TimeoutError):
            await asyncio.wait_for(self._begun.wait(), most_s)

    @contextmanager
    def reader(self, campaign: str | None) -> Iterator[Reader]:
        """Listen to a campaign, or to all of them."""
        one = Reader(campaign)
        self._readers.add(one)
        try:
            yield one
        finally:
            self._readers.discard(one)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stop.is_set():
            try:
                with outbox.news(self._database.url, outbox.CHANNEL) as news:
                    self._follow(news, loop)
            except psycopg.Error as error:
                if self.problem is None:
                    log.warning("no news", reason=str(error))
                self.problem = str(error)
                self._stop.wait(RETRY_S)
            except RuntimeError:  # the loop is closed: the server has ended
                return

    def _follow(self, news: outbox.News, loop: asyncio.AbstractEventLoop) -> None:
        if not self.sequence:
            self.sequence = events.newest(news.connection)
            self._known = set(range(max(1, self.sequence - LOOK_BACK), self.sequence + 1))
        loop.call_soon_threadsafe(self._begun.set)
        while not self._stop.is_set():
            low = max(0, self.sequence - LOOK_BACK)
            self._known = {number for number in self._known if number > low}
            found = events.unseen(news.connection, low, list(self._known))
            self.problem = None
            if found:
                self._known.update(found)
                loop.call_soon_threadsafe(self._tell, found)
            self._stop.wait(PAUSE_S)
            news.wait(POLL_S, self._stop)

    def _tell(self, found: Mapping[int, str | None]) -> None:
        self.sequence = max(self.sequence, *found)
        concerned = set(found.values())
        for reader in self._readers:
            if reader.campaign is None or None in concerned or reader.campaign in concerned:
                reader.woken.set()
