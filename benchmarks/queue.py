"""A hundred DFT jobs with a worker per core: how busy the workers are, and what the queue adds to each job."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from gapsmith.core.calculation import content_hash
from gapsmith.core.domain import Molecule
from gapsmith.core.levels import GENERATED, shipped
from gapsmith.core.settings import Settings
from gapsmith.data import qm9
from gapsmith.stack.stack import EmbeddedStack
from gapsmith.store import calculations, candidates
from gapsmith.store.database import Database
from gapsmith.store.migrate import migrate

JOBS = 100
HEAVY_ATOMS = 5  # some seconds each: what the queue adds is not hidden by long jobs
SERVICES = ("dft_queue", "dft_worker")


def measure() -> dict[str, Any]:
    """Triage of molecules of QM9 at QM9's geometries, from the first start of a job to the last end."""
    with tempfile.TemporaryDirectory(prefix="gapsmith-bench-") as folder:
        home = Path(folder) / "home"
        stack = EmbeddedStack(home)
        settings = stack.up().apply(Settings(home=home))
        try:
            return _run(settings)
        finally:
            stack.down()


def _run(settings: Settings) -> dict[str, Any]:
    assert settings.postgres_url is not None
    assert settings.celery_broker_url is not None
    cores = os.cpu_count() or 1
    migrate(settings.postgres_url.get_secret_value())
    environment = {
        **os.environ,
        "GAPSMITH_HOME": str(settings.home),
        "GAPSMITH_POSTGRES_URL": settings.postgres_url.get_secret_value(),
        "GAPSMITH_KAFKA_BOOTSTRAP": settings.kafka_bootstrap or "",
        "GAPSMITH_CELERY_BROKER_URL": settings.celery_broker_url.get_secret_value(),
        "GAPSMITH_DFT_WORKERS": str(cores),
        "GAPSMITH_LOG_LEVEL": "warning",
    }
    with Database.from_settings(settings) as database:
        _request(database)
        processes = [
            subprocess.Popen([sys.executable, "-m", "gapsmith.cli.main", service, "serve"], env=environment)
            for service in SERVICES
        ]
        try:
            while _left(database):
                time.sleep(0.5)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(60)
        with database.transaction() as connection:
            rows = connection.execute(
                """SELECT k.wall_s, k.cpu_s, extract(epoch FROM a.started_at)::float AS began,
                          extract(epoch FROM a.ended_at)::float AS ended
                   FROM calculations k JOIN attempts a ON a.calculation_id = k.id WHERE k.state = 'done' ORDER BY 3"""
            ).fetchall()
    # While as many jobs as workers are left: at the end some worker has nothing to do.
    until = sorted(row["ended"] for row in rows)[-cores]
    span = until - rows[0]["began"]
    busy = sum(min(row["ended"], until) - row["began"] - (row["ended"] - row["began"] - row["wall_s"]) for row in rows)
    return {
        "jobs": len(rows),
        "workers": cores,
        "median_job_s": round(statistics.median(row["wall_s"] for row in rows), 2),
        "worker_utilisation_percent": round(100 * busy / (cores * span), 1),
        "queue_overhead_per_job_ms": round(1000 * (cores * span - busy) / len(rows), 1),
        "of_it_inside_an_attempt_ms": round(
            1000 * statistics.median(row["ended"] - row["began"] - row["wall_s"] for row in rows), 1
        ),
    }


def _request(database: Database) -> None:
    data, level = qm9.load(), shipped()["single-point"]
    heavy = np.add.reduceat(data.numbers > 1, data.offsets[:-1])
    for index in np.flatnonzero(heavy == HEAVY_ATOMS)[:JOBS]:
        atoms = data.atoms(int(index))
        numbers, coordinates = data.numbers[atoms], data.coordinates[atoms].astype(np.float64)
        molecule = Molecule(numbers, coordinates, np.zeros(len(numbers), np.int8), np.zeros((0, 3), np.int16))
        with database.transaction() as connection:
            calculations.request(
                connection,
                content_hash=content_hash(numbers, coordinates, 0, 0, level, GENERATED),
                level=level,
                conformer_id=candidates.add_conformer(connection, molecule, method=GENERATED, molecule_id=None),
                campaign_id=None,
            )


def _left(database: Database) -> int:
    with database.transaction() as connection:
        row = connection.execute(
            "SELECT count(*) AS n FROM calculations WHERE state IN ('queued', 'running')"
        ).fetchone()
    return int(row["n"]) if row else 0
