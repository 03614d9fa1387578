"""How often one may ask: a bucket of tokens for each caller, filled at a steady rate."""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from gapsmith.dashboard.api.problems import TooMany

MOST_CALLERS: Final = 10_000


@dataclass(frozen=True)
class Rate:
    """So many requests a second on average, and so many at once."""

    per_s: float
    burst: int


@dataclass(frozen=True)
class Limits:
    """Of one caller."""

    reading: Rate = Rate(30.0, 120)
    commands: Rate = Rate(2.0, 20)
    exports: Rate = Rate(0.2, 6)
    refused: Rate = Rate(0.5, 10)  # requests without a valid token, which might be guesses
    drawings: Rate = Rate(100.0, 600)  # of which a page of candidates has fifty


@dataclass
class Buckets:
    """Counts requests of one kind.

    Args:
        rate: that is allowed.
    """

    rate: Rate
    _left: "OrderedDict[str, tuple[float, float]]" = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, caller: str) -> None:
        """Count a request; raises TooMany."""
        now = time.monotonic()
        with self._lock:
            left, when = self._left.pop(caller, (float(self.rate.burst), now))
            left = min(self.rate.burst, left + (now - when) * self.rate.per_s)
            self._left[caller] = (left - 1 if left >= 1 else left, now)
            while len(self._left) > MOST_CALLERS:
                self._left.popitem(last=False)
        if left < 1:
            raise TooMany((1 - left) / self.rate.per_s)
