"""Processor time of a stack that has nothing to do, by process, in percent of a core, and how soon it reacts to an event."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from uuid import uuid4

import numpy as np
import psutil

from benchmarks.processes import of_home

SETTLE_S, MEASURE_S = 100.0, 120.0  # services on a busy machine start slowly
EVENTS, GAP_S = 60, (0.3, 3.0)  # one at a time, so that each finds everybody asleep


def measure() -> dict[str, float]:
    """Percent of a core in two minutes without a campaign, and seconds from an outbox row to its handler's transaction."""
    with tempfile.TemporaryDirectory(prefix="gapsmith-bench-") as folder:
        home = Path(folder) / "home"
        environment = {**os.environ, "GAPSMITH_HOME": str(home), "GAPSMITH_DASHBOARD_PORT": "0"}
        gapsmith = [sys.executable, "-m", "gapsmith.cli.main"]
        subprocess.run([*gapsmith, "up"], env=environment, check=True)
        try:
            time.sleep(SETTLE_S)
            before, started = _seconds(home), time.monotonic()
            time.sleep(MEASURE_S)
            after, took = _seconds(home), time.monotonic() - started
            reactions = _reactions_s(home)
        finally:
            subprocess.run([*gapsmith, "down"], env=environment, check=True)
    found: defaultdict[str, float] = defaultdict(float)
    for process, seconds in after.items():
        found[_name(process[1])] += 100 * (seconds - before.get(process, 0.0)) / took
    shares = sorted(((round(share, 2), name) for name, share in found.items()), reverse=True)
    reacted = {f"reaction_p{p}_s": round(float(np.percentile(reactions, p)), 3) for p in (50, 95)}
    in_all = {"in_all": round(sum(found.values()), 2)}
    return {**in_all, **reacted, **{name: share for share, name in shares if share > 0}}


def _reactions_s(home: Path) -> list[float]:
    """Of events that the coordinator handles without doing anything."""
    from gapsmith.core.messages import CalculationFinished
    from gapsmith.stack.stack import EmbeddedStack
    from gapsmith.store import outbox
    from gapsmith.store.database import Database

    addresses = EmbeddedStack(home).find()
    assert addresses is not None  # it has just been measured
    chance = random.Random(1)
    with Database(addresses.postgres_url, connections=1) as database:
        for _ in range(EVENTS):
            with database.transaction() as connection:
                outbox.emit(connection, CalculationFinished(calculation_id=uuid4(), state="failed"), source="benchmark")
            time.sleep(chance.uniform(*GAP_S))
        time.sleep(2 * outbox.BUSY_S)  # what the broker lost is handled by then
        with database.transaction() as connection:
            rows = connection.execute(
                """SELECT extract(epoch FROM i.handled_at - o.created_at)::float8 AS s
                   FROM outbox o JOIN inbox i ON i.event_id = o.id AND i.consumer = 'coordinator'
                   WHERE o.type = %s""",
                (CalculationFinished.TYPE,),
            ).fetchall()
    if len(rows) < EVENTS:
        raise RuntimeError(f"{EVENTS - len(rows)} of {EVENTS} events were not handled")
    return [float(row["s"]) for row in rows]


def _seconds(home: Path) -> dict[tuple[int, tuple[str, ...]], float]:
    found = {}
    for process in of_home(home):
        try:
            times = process.cpu_times()
            found[process.pid, tuple(process.cmdline())] = times.user + times.system
        except psutil.Error:
            continue
    return found


def _name(line: tuple[str, ...]) -> str:
    """What a process is called here: a service by its name, a server by its program."""
    if "gapsmith.cli.main" in line and line[-1] == "serve":
        return line[-2]
    if "gapsmith.stack.machine" in line or "gapsmith.stack.watchdog" in line:
        return "supervisor"
    if any("forkserver" in word or "celery" in word for word in line):
        return "dft_worker"
    return Path(line[0].partition(" ")[0].rstrip(":")).name if line else "other"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(measure())
