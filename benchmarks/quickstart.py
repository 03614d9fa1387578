"""The quickstart campaign from an empty home to its report: time, memory, DFT jobs, hits."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg.rows import dict_row

from benchmarks.processes import of_home
from gapsmith.stack.stack import EmbeddedStack

FILE = Path(__file__).parents[1] / "examples" / "quickstart.yaml"


def measure() -> dict[str, Any]:
    """Run it as its user does; memory is the largest sum of proportional set sizes of all its processes."""
    with tempfile.TemporaryDirectory(prefix="gapsmith-bench-") as folder:
        home = Path(folder) / "home"
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "gapsmith.cli.main", "run", str(FILE), "--results", str(Path(folder) / "results")],
            env={**os.environ, "GAPSMITH_HOME": str(home)},
        )
        peak = _Peak(home)
        code = process.wait()
        took = time.monotonic() - started
        memory_mb = peak.stop()
        stack = EmbeddedStack(home)
        try:
            with psycopg.connect(stack.up().postgres_url, row_factory=dict_row) as connection:
                campaign = connection.execute("SELECT * FROM campaigns").fetchone()
                numbers = connection.execute(_NUMBERS).fetchone()
        finally:
            stack.down()
    assert campaign is not None
    return {
        "exit_code": code,
        "took_s": round(took, 1),
        "campaign_s": round(campaign["elapsed_s"], 1),
        "stop_reason": campaign["stop_reason"],
        "peak_memory_mb": memory_mb,
        **(numbers or {}),
    }


# The coordinator's delay: from the end of a calculation to the next request of one, both stamped by their transactions.
_NUMBERS = """
WITH ended AS (SELECT created_at AS at FROM outbox WHERE type = 'gapsmith.calculation.finished.v1'),
     asked AS (SELECT created_at AS at FROM outbox WHERE type = 'gapsmith.calculation.requested.v1'),
     delays AS (SELECT (SELECT min(a.at) FROM asked a WHERE a.at >= e.at) - e.at AS d FROM ended e)
SELECT (SELECT count(*) FROM candidates WHERE triage_id IS NOT NULL AND state <> 'withdrawn') AS dft_jobs,
       (SELECT count(*) FROM candidates WHERE violation <= 0) AS hits_labelled,
       (SELECT count(*) FROM candidates WHERE outcome = 'hit_by_certificate') AS hits_certified,
       (SELECT count(*) FROM candidates WHERE state = 'failed') AS failed,
       (SELECT round(sum(cpu_s)::numeric, 1)::float FROM calculations) AS dft_cpu_s,
       (SELECT round(extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY d))::numeric, 3)::float
          FROM delays WHERE d < interval '10 seconds') AS median_s_from_finished_job_to_next_request
"""


class _Peak:
    """Watches the memory of all processes of a home."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._most = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """The peak in MB."""
        self._stop.set()
        self._thread.join()
        return round(self._most / 1e6)

    def _run(self) -> None:
        while not self._stop.wait(3.0):
            total = 0
            for process in of_home(self._home):
                with suppress(psutil.Error, AttributeError):
                    total += process.memory_full_info().pss
            self._most = max(self._most, total)
