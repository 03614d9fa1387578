"""Exceptions that nobody expected: one sentence and a number for the user, the traceback for the log."""

import sys
import traceback
from datetime import UTC, datetime
from importlib.metadata import version
from uuid import uuid4

from gapsmith.core.errors import Internal
from gapsmith.core.paths import home


def record(error: BaseException) -> Internal:
    """Append the traceback of an exception to ``logs/errors.log`` in the home folder.

    Args:
        error: with its traceback.

    Returns:
        What to tell the user.
    """
    number, path = uuid4().hex[:8], home() / "logs" / "errors.log"
    when, command = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", " ".join(sys.argv)
    text = "".join(traceback.format_exception(error))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as log:
            log.write(f"{number} {when} gapsmith {version('gapsmith')}: {command}\n{text}\n")
    except OSError:  # a full disk, or a container without a writable home
        return Internal(error, number, None)
    return Internal(error, number, path)
