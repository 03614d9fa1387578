"""How soon ``gapsmith --help`` and ``gapsmith query`` answer, and that neither imports torch or RDKit."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gapsmith.stack.stack import EmbeddedStack
from gapsmith.store.migrate import migrate

RUNS = 7
COMMAND = Path(sys.executable).with_name("gapsmith")


def measure() -> dict[str, float | bool]:
    """Medians over some runs; the query asks an empty database of a running stack."""
    with tempfile.TemporaryDirectory(prefix="gapsmith-bench-") as folder:
        stack = EmbeddedStack(Path(folder))
        try:
            migrate(stack.up().postgres_url)
            environment = {**os.environ, "GAPSMITH_HOME": folder}
            help_s = _median([str(COMMAND), "--help"], environment)
            query_s = _median([str(COMMAND), "query", "--gap", "3.9:4.1"], environment)
            heavy = subprocess.run(
                [sys.executable, "-X", "importtime", "-m", "gapsmith.cli.main", "query", "--gap", "3.9:4.1"],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            ).stderr
        finally:
            stack.down()
    return {
        "help_s": help_s,
        "query_s": query_s,
        "query_imports_torch": "| torch\n" in heavy,
        "query_imports_rdkit": "| rdkit\n" in heavy,
    }


def _median(command: list[str], environment: dict[str, str]) -> float:
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        subprocess.run(command, env=environment, check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return round(statistics.median(times), 3)
