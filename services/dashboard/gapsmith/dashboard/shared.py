"""What many browsers look at is computed once: a cache in which only one computes and the others wait."""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

T = TypeVar("T")
MOST: Final = 256  # values that are kept


@dataclass
class _Entry:
    made: float  # monotonic, when its computation began
    version: int
    work: "asyncio.Future[Any]"


class Shared:
    """Values by name, computed in threads."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._changed = -math.inf

    def outdate(self) -> None:
        """Something was changed from here: what was computed before is not used any more. Safe from any thread."""
        self._changed = time.monotonic()

    async def get(self, name: str, make: Callable[[], T], *, version: int, most_s: float) -> T:
        """A value, computed now unless somebody else did or does.

        Args:
            name: of the value.
            make: computes it, in a thread.
            version: a value of another one is not used.
            most_s: nor is an older value.
        """
        entry = self._entries.get(name)
        if entry is not None and entry.made < self._changed:
            entry = None
        if entry is not None and not entry.work.done():
            return cast(T, await asyncio.shield(entry.work))  # it may miss the newest event, which the next look sees
        if entry is None or entry.version != version or time.monotonic() - entry.made > most_s or _failed(entry.work):
            work = asyncio.ensure_future(asyncio.to_thread(make))
            entry = _Entry(time.monotonic(), version, work)
            self._entries.pop(name, None)
            self._entries[name] = entry
            while len(self._entries) > MOST:
                self._entries.pop(next(iter(self._entries)))
        return cast(T, await asyncio.shield(entry.work))


def _failed(work: "asyncio.Future[Any]") -> bool:
    return work.done() and (work.cancelled() or work.exception() is not None)
