"""Where a page ended, as text that says nothing to people and belongs to one question."""

import base64
import json
import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from gapsmith.core.errors import InputError

WRONG = "cursor: it is not one that an answer to this question gave; start again without it"


@dataclass(frozen=True)
class Position:
    """After which candidate to go on."""

    segment: int  # 0: candidates with a value to sort by; 1: those without
    key: Any = None  # number or datetime of the last one; None: before the first of the segment
    id: UUID | None = None

    def text(self, digest: str) -> str:
        """A cursor of the question with that digest."""
        key = self.key.isoformat() if isinstance(self.key, datetime) else self.key
        raw = json.dumps([digest, self.segment, key, None if self.id is None else self.id.hex], separators=(",", ":"))
        return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str, digest: str, *, dated: tuple[bool, bool]) -> "Position":
        """Read a cursor.

        Args:
            text: as ``text`` wrote it.
            digest: of the question.
            dated: whether keys of each segment are dates.

        Raises:
            InputError: it is none, or of another question.
        """
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            of, segment, key, identifier = json.loads(raw)
            if (
                of != digest
                or segment not in (0, 1)
                or isinstance(segment, bool)
                or (key is None) != (identifier is None)
            ):
                raise ValueError
            if key is None:
                return cls(segment)
            when = datetime.fromisoformat(key) if dated[segment] else key
            if not dated[segment] and (isinstance(key, bool) or not math.isfinite(key) or abs(key) > 1e9):
                raise ValueError
            if dated[segment] and when.tzinfo is None:
                raise ValueError
            return cls(segment, when, UUID(hex=identifier))
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise InputError(WRONG) from error
