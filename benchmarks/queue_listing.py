"""How long 10,000 queued jobs take to be listed, filtered, re-prioritised, cancelled and queued again."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import numpy as np

from gapsmith.core.codec import encode
from gapsmith.core.domain import Molecule
from gapsmith.core.levels import shipped
from gapsmith.stack.stack import EmbeddedStack
from gapsmith.store import jobs, levels
from gapsmith.store.database import Connection, Database
from gapsmith.store.jobs import JobFilter, JobState
from gapsmith.store.migrate import migrate

JOBS = 10_000
RUNS = 5
COMMAND = Path(sys.executable).with_name("gapsmith")
METHANE = Molecule(
    np.array([6, 1, 1, 1, 1], dtype=np.uint8),
    np.array([[0.0, 0.0, 0.0], [0.63, 0.63, 0.63], [-0.63, -0.63, 0.63], [-0.63, 0.63, -0.63], [0.63, -0.63, -0.63]]),
    np.zeros(5, dtype=np.int8),
    np.array([[0, 1, 1], [0, 2, 1], [0, 3, 1], [0, 4, 1]], dtype=np.int16),
)


def measure() -> dict[str, float | int]:
    """Medians, in seconds: the functions behind the commands, and whole commands with Python's start."""
    with tempfile.TemporaryDirectory(prefix="gapsmith-bench-") as folder:
        stack = EmbeddedStack(Path(folder))
        try:
            addresses = stack.up()
            migrate(addresses.postgres_url)
            with Database(addresses.postgres_url) as database:
                _fill(database)
                numbers = _functions(database)
                with database.transaction() as connection:
                    first = str(jobs.listed(connection, JobFilter(), limit=1)[0].id)
            environment = {**os.environ, "GAPSMITH_HOME": folder}
            numbers |= {
                "command_list_s": _command(environment, "jobs", "list"),
                "command_list_all_s": _command(environment, "jobs", "list", "--limit", f"{JOBS}"),
                "command_filter_s": _command(
                    environment, "jobs", "list", "--state", "queued", "--level", "certificate"
                ),
                "command_priority_s": _command(environment, "jobs", "priority", "7", "--level", "certificate"),
                "command_why_s": _command(environment, "jobs", "why", first),
            }
        finally:
            stack.down()
    return {"jobs": JOBS, **numbers}


def _fill(database: Database) -> None:
    """Jobs of two levels, each with a geometry of its own."""
    with database.transaction() as connection:
        versions = [levels.keep(connection, shipped()[name]) for name in ("triage", "certificate")]
        with connection.cursor() as cursor:
            ids = [uuid4() for _ in range(JOBS)]
            cursor.executemany(
                """INSERT INTO conformers (id, method, numbers, coordinates_angstrom, bonds, charges)
                   VALUES (%s, 'gfn2-xtb', %s, %s, %s, %s)""",
                [(one, *encode(METHANE)) for one in ids],
            )
            cursor.executemany(
                """INSERT INTO calculations (id, content_hash, level, level_version, conformer_id, state, priority,
                                             created_at)
                   VALUES (gen_random_uuid(), %s, %s, %s, %s, 'queued', %s, now() - make_interval(secs => %s))""",
                [
                    (one.hex, ("triage", "certificate")[place % 2], versions[place % 2], one, place % 3, JOBS - place)
                    for place, one in enumerate(ids)
                ],
            )
    with database.transaction() as connection:
        connection.execute("ANALYZE")


def _functions(database: Database) -> dict[str, float | int]:
    everything, some = JobFilter(), JobFilter(states=(JobState.QUEUED,), level="certificate")
    asked: dict[str, Callable[[Connection], object]] = {
        "list_page_s": lambda connection: jobs.listed(connection, everything, limit=50),
        "list_all_s": lambda connection: jobs.listed(connection, everything, limit=JOBS),
        "count_s": lambda connection: jobs.counts(connection, everything),
        "filter_s": lambda connection: jobs.listed(connection, some, limit=JOBS),
        "priority_all_s": lambda connection: jobs.prioritise(connection, everything, int(time.time()) % 900),
        "cancel_all_s": lambda connection: jobs.cancel(connection, everything),
        "retry_all_s": lambda connection: jobs.retry(connection, everything),
    }
    times: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(RUNS):
        for name, ask in asked.items():
            started = time.perf_counter()
            with database.transaction() as connection:
                ask(connection)
            times[name].append(time.perf_counter() - started)
    return {name: round(statistics.median(found), 3) for name, found in times.items()}


def _command(environment: dict[str, str], *words: str) -> float:
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        subprocess.run([str(COMMAND), *words], env=environment, check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return round(statistics.median(times), 3)
