"""Processor time of a stack that has nothing to do, by process, in percent of a core."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import psutil

from benchmarks.processes import of_home

SETTLE_S, MEASURE_S = 100.0, 120.0  # services on a busy machine start slowly


def measure() -> dict[str, float]:
    """Percent of a core that servers and services take in two minutes without a campaign."""
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
        finally:
            subprocess.run([*gapsmith, "down"], env=environment, check=True)
    found: defaultdict[str, float] = defaultdict(float)
    for process, seconds in after.items():
        found[_name(process[1])] += 100 * (seconds - before.get(process, 0.0)) / took
    shares = sorted(((round(share, 2), name) for name, share in found.items()), reverse=True)
    return {"in_all": round(sum(found.values()), 2), **{name: share for share, name in shares if share > 0}}


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
