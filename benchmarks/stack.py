"""How long the embedded servers take to come up: from an empty folder, and again."""

import tempfile
import time
from pathlib import Path

from gapsmith.stack.stack import EmbeddedStack
from gapsmith.store.migrate import migrate


def measure() -> dict[str, float]:
    """Seconds until all three servers answer; the schema's migration apart."""
    with tempfile.TemporaryDirectory(prefix="gapsmith-bench-") as folder:
        stack = EmbeddedStack(Path(folder))
        try:
            started = time.perf_counter()
            addresses = stack.up()
            first = time.perf_counter() - started
            started = time.perf_counter()
            migrate(addresses.postgres_url)
            migration = time.perf_counter() - started
            started = time.perf_counter()
            stack.up()
            running = time.perf_counter() - started
            stack.down()
            started = time.perf_counter()
            stack.up()
            again = time.perf_counter() - started
        finally:
            stack.down()
    return {
        "from_nothing_s": round(first, 2),
        "migration_s": round(migration, 2),
        "already_up_s": round(running, 2),
        "second_start_s": round(again, 2),
    }
