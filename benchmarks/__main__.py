"""Run the benchmarks (all, or those named) and write one JSON file each with versions and machine."""

import importlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

NAMES = (
    "command_line",
    "stack",
    "idle",
    "generator",
    "sampling_steps",
    "mask_fraction",
    "constraints",
    "surrogate",
    "fine_tuning",
    "generator_fine_tuning",
    "own_data",
    "triage",
    "wide",
    "levels",
    "minimiser",
    "library",
    "queue",
    "certificate",
    "queue_listing",
    "quickstart",
    "datastore",
    "scaling",
    "candidates",
    "browsers",
    "fuzz",
    "chaos",
)
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("gapsmith", "torch", "torch_geometric", "rdkit", "pyscf", "tblite", "kafka-python", "psycopg", "celery")


def machine() -> dict[str, object]:
    """What the numbers were measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text().splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        model = models[0] if models else model
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}


def write(name: str, measure: Callable[[], object]) -> None:
    """Run one and write its file."""
    started = time.monotonic()
    numbers = measure()
    record = {
        "benchmark": name,
        "command": f"python -m benchmarks {name}",
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "took_s": round(time.monotonic() - started, 1),
        "machine": machine(),
        "versions": {package: version(package) for package in PACKAGES},
        "numbers": numbers,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
    print(f"{name}: {json.dumps(numbers)}", flush=True)


def main() -> None:
    """Run and write."""
    names = sys.argv[1:] or [name for name in NAMES if name != "own_data" or "GAPSMITH_IQSPR" in os.environ]
    if unknown := set(names) - set(NAMES):
        sys.exit(f"no benchmark is called {', '.join(sorted(unknown))}; there is: {', '.join(NAMES)}")
    RESULTS.mkdir(exist_ok=True)
    if len(names) > 1:  # each in its own process: what one imports must not speed up or slow down the next
        for name in names:
            subprocess.run([sys.executable, "-m", "benchmarks", name], check=True)
        return
    for name in names:
        write(name, importlib.import_module(f"benchmarks.{name}").measure)


if __name__ == "__main__":
    main()
