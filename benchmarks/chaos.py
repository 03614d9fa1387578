"""Campaigns on tiny molecules while what they run on is killed, stopped and continued at random, and its disk fills.

Services, servers, calculations and ranks of trainings are killed; everything else is as ``gapsmith up`` leaves it.
Afterwards the database is asked whether anything was lost or done twice. ``python -m benchmarks.chaos SECONDS SEED [PACE]``
takes another time, seed and pace. Each run is added to those on record, so that many kills can be
recorded in pieces.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
import psycopg
from psycopg.rows import dict_row

from benchmarks.processes import of_home
from gapsmith.stack.machine import service_pid
from gapsmith.stack.stack import EmbeddedStack

SECONDS, SEED = 1800.0, 1
RECORD: Final = Path(__file__).parent / "results" / "chaos.json"
SERVICES: Final = ("generator", "surrogate", "coordinator", "dft_queue", "dft_worker", "trainer")
CHILDREN: Final = {"calculation": 4, "rank": 8}  # and how often they are chosen while one is alive: for a short time
PAUSE_S: Final = (2.0, 10.0)  # between two blows
DISK: Final = "1500m"  # of a small disk for the home, where one can be mounted
SHORT_S, MOST_SHORT = (
    60.0,
    4,
)  # after so many shorter lives in a row a service is left alone, for after six it is given up
FROZEN_S: Final = (1.0, 20.0)  # that a process is stopped for
QUIET_S: Final = 900.0  # that campaigns have to end when nothing is killed any more
NOTICED_S: Final = 120.0  # after which a death counts as not noticed
CAMPAIGN: Final[dict[str, Any]] = {
    "target": {"value": 7.8, "tolerance": 0.4},
    "constraints": {"heavy_atoms": [2, 4], "sa_score": 9.0},
    "budget": {"dft_jobs": 8, "wall_time": "2h"},  # enough that models are trained: what is learnt must be of use
    "acquisition": {"pool": 6},
    "exploration": {"batch": 16},
}
# in turn: certificates take longer than all else; two ranks train for a minute, so that they can be hit
PAIR: Final = {"every_labels": 2, "steps": 150, "processes": 2}
VARIANTS: Final[tuple[dict[str, Any], ...]] = (
    {"dft": {"certify": False}, "retraining": PAIR},
    {"dft": {"certify": True}, "retraining": PAIR},
    {"dft": {"certify": False}, "retraining": {"every_labels": 3, "steps": 3}},
)
# an attempt that was neither lost nor hindered ends its calculation: what goes beyond was computed and thrown away
TWICE: Final = "SELECT count(*)::int AS n FROM calculations WHERE state = 'done' AND attempts > losses + transients + 1"
LOST: Final = """
    SELECT count(*)::int AS n FROM outbox o JOIN subscriptions s ON s.topic = o.topic
    WHERE NOT EXISTS (SELECT 1 FROM inbox i WHERE i.event_id = o.id AND i.consumer = s.consumer)"""
FAILED: Final = "SELECT count(*)::int AS n FROM inbox WHERE error IS NOT NULL"


@dataclass
class Chaos:
    """A stack, and what was done to it.

    Args:
        home: of the stack.
        seed: of what is killed when.
        pace: factor on pauses, freezes and leases; less than one makes more of a short time.
    """

    home: Path
    seed: int
    pace: float = 1.0
    blows: Counter[str] = field(default_factory=Counter)
    noticed_s: list[float] = field(default_factory=list)
    unnoticed: int = 0
    _campaigns: int = 0
    _lives: dict[str, list[float]] = field(default_factory=dict)  # when each service was killed

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GAPSMITH_")}
        cache = os.environ.get("GAPSMITH_CACHE", str(Path.home() / ".cache" / "gapsmith"))
        own = {"GAPSMITH_HOME": str(self.home), "GAPSMITH_CACHE": cache, "GAPSMITH_DASHBOARD_PORT": "0"}
        self._environment = {
            **clean,
            **own,
            "GAPSMITH_LEASE_S": f"{15 * self.pace:g}",
            "GAPSMITH_HEARTBEAT_S": f"{3 * self.pace:g}",
            "OMP_NUM_THREADS": "1",
        }

    def run(self, seconds: float, blows: int | None = None) -> dict[str, Any]:
        """Kill for so long, or so often, wait for the campaigns, and count."""
        mounted = self._mount()
        self._gapsmith("up")
        try:
            until = time.monotonic() + seconds
            while time.monotonic() < until and (blows is None or self.blows.total() < blows):
                if self._open() < 2:
                    self._begin()
                self._strike()
                time.sleep(self.pace * self._chance.uniform(*PAUSE_S))
            quiet = time.monotonic() + QUIET_S
            while self._open() > 0 and time.monotonic() < quiet:
                time.sleep(2.0)
            self._settle()
            return self._result()
        finally:
            self._gapsmith("down")
            if mounted:
                subprocess.run(["umount", "--lazy", self.home], check=True)

    def _mount(self) -> bool:
        """Put the home on a small disk, if that is allowed here."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs", str(self.home)]
        return os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _strike(self) -> None:
        """Kill or stop something, or fill the disk."""
        servers = {one.name: one.pid for one in EmbeddedStack(self.home).status()}
        children = {name: found for name in CHILDREN if (found := sorted(self._children(name)))}
        alive = [name for name in children for _ in range(CHILDREN[name])]
        name = self._chance.choice([*SERVICES * 2, *servers, *alive, "disk"])
        if name == "disk":
            self._fill_disk()
        elif name in children:
            self._send(self._chance.choice(children[name]), signal.SIGKILL, f"killed {name}")
        elif name in servers:
            self._hit(name, lambda: {one.name: one.pid for one in EmbeddedStack(self.home).status()}.get(name))
        elif not self._weary(name):
            self._hit(name, lambda: service_pid(self.home, name))

    def _hit(self, name: str, find: Callable[[], int | None]) -> None:
        """Kill a server or a service and wait for the next one, or stop it for a while."""
        if (pid := find()) is None:
            return
        if self._chance.random() >= 0.3:
            self._lives.setdefault(name, []).append(time.monotonic())
            if self._send(pid, signal.SIGKILL, f"killed {name}"):
                self._await_another(pid, find)
        elif self._send(pid, signal.SIGSTOP, f"stopped {name}"):
            time.sleep(self.pace * self._chance.uniform(*FROZEN_S))
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _send(self, pid: int, number: signal.Signals, what: str) -> bool:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            self.blows[what] += 1
            return True
        return False

    def _weary(self, name: str) -> bool:
        """Whether a service was killed so often, soon after its start, that a few deaths more would be its last."""
        lives = np.diff([*self._lives.get(name, [])[-MOST_SHORT:], time.monotonic()])
        return len(lives) == MOST_SHORT and bool(max(lives) < 2 * SHORT_S)

    def _children(self, name: str) -> Iterator[int]:
        """Process ids of calculations, or of ranks of trainings."""
        worker = service_pid(self.home, "dft_worker")
        for process in of_home(self.home):
            with suppress(psutil.Error):
                parent = process.parent()
                if name == "rank" and "RANK" in process.environ():
                    yield process.pid
                elif name == "calculation" and worker is not None and parent is not None and parent.ppid() == worker:
                    yield process.pid  # the worker starts a server of processes, and that one the calculations

    def _fill_disk(self) -> None:
        """Leave no space for a while."""
        if not self.home.is_mount():
            return
        filler = self.home / "filler"
        with suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(2**20))
        self.blows["filled disk"] += 1
        time.sleep(self.pace * self._chance.uniform(*FROZEN_S))
        filler.unlink()

    def _await_another(self, pid: int, find: Callable[[], int | None]) -> None:
        started = time.monotonic()
        while time.monotonic() - started < NOTICED_S:
            if find() not in (None, pid):
                self.noticed_s.append(time.monotonic() - started)
                return
            time.sleep(0.1)
        self.unnoticed += 1

    def _begin(self) -> None:
        """Begin a campaign, unless a server has just been killed."""
        from gapsmith.core.campaign import parse_campaign
        from gapsmith.store import campaigns
        from gapsmith.store.database import Database

        addresses = EmbeddedStack(self.home).find()
        if addresses is None:
            return
        variant = VARIANTS[self._campaigns % len(VARIANTS)]
        config = parse_campaign({**CAMPAIGN, **variant, "name": f"tiny-{self._campaigns}", "seed": self._campaigns})
        with suppress(Exception), Database(addresses.postgres_url, connections=1) as database:
            with database.transaction() as connection:
                campaigns.create(connection, config, source="chaos")
            self._campaigns += 1

    def _open(self) -> int:
        """Campaigns that run; at least one if the database does not answer."""
        try:
            return self._number(
                "SELECT count(*)::int AS n FROM campaigns WHERE state NOT IN ('finished', 'stopped', 'failed')"
            )
        except psycopg.Error:
            return 1

    def _settle(self) -> None:
        """Wait until the events of the ended campaigns are handled."""
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with suppress(psycopg.Error):
                if self._number(LOST) == 0:
                    return
            time.sleep(2.0)

    def _number(self, query: str) -> int:
        addresses = EmbeddedStack(self.home).find()
        if addresses is None:
            raise psycopg.OperationalError("a server is gone")
        with psycopg.connect(addresses.postgres_url, row_factory=dict_row, connect_timeout=10) as connection:
            row = connection.execute(query).fetchone()
        assert row is not None
        return int(row["n"])

    def _result(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "kills": sum(count for name, count in self.blows.items() if name.startswith("killed")),
            "stops": sum(count for name, count in self.blows.items() if name.startswith("stopped")),
            "events": self._number("SELECT count(*)::int AS n FROM outbox"),
            "events_lost": self._number(LOST),
            "events_refused": self._number(FAILED),
            "calculations": self._number("SELECT count(*)::int AS n FROM calculations WHERE state = 'done'"),
            "calculations_twice": self._number(TWICE),
            "campaigns": self._campaigns,
            "campaigns_ended": self._number("SELECT count(*)::int AS n FROM campaigns WHERE state = 'finished'"),
            "deaths_noticed": len(self.noticed_s),
            "deaths_unnoticed": self.unnoticed,
            "noticed_median_s": round(float(np.median(self.noticed_s)), 2) if self.noticed_s else None,
            "noticed_max_s": round(max(self.noticed_s), 2) if self.noticed_s else None,
            "blows": dict(sorted(self.blows.items())),
        }

    def _gapsmith(self, *words: str) -> None:
        command = [sys.executable, "-m", "gapsmith.cli.main", *words]
        subprocess.run(command, env=self._environment, check=True, timeout=600)


def measure(seconds: float = SECONDS, seed: int = SEED, pace: float = 1.0) -> dict[str, Any]:
    """What was killed, and what came of it: in all runs on record together, and in each."""
    with tempfile.TemporaryDirectory(prefix="gapsmith-bench-", ignore_cleanup_errors=True) as folder:
        run = {"seconds": seconds, "pace": pace} | Chaos(Path(folder) / "home", seed, pace).run(seconds)
    return recorded([*_runs(), run])


def recorded(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Runs added up."""
    counted = [name for name, value in runs[0].items() if isinstance(value, int) and name != "seed"]
    blows: Counter[str] = Counter()
    for run in runs:
        blows.update(run["blows"])
    slowest = max((run["noticed_max_s"] for run in runs if run["noticed_max_s"] is not None), default=None)
    sums = {name: sum(run[name] for run in runs) for name in counted}
    return {**sums, "noticed_max_s": slowest, "blows": dict(sorted(blows.items())), "runs": runs}


def _runs() -> list[dict[str, Any]]:
    """Those on record."""
    try:
        return list(json.loads(RECORD.read_text())["numbers"]["runs"])
    except FileNotFoundError:
        return []


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    from benchmarks.__main__ import write

    write("chaos", lambda: measure(float(sys.argv[1]), int(sys.argv[2]), *map(float, sys.argv[3:4])))
