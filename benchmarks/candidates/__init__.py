"""A million candidates in Postgres: how fast pages, substructures, similarities and files come over the API.

The molecules are QM9's with their B3LYP gaps, proposed by as many campaigns as it takes; most candidates are scored, one in
ten has a DFT label. Questions are asked over HTTP of a server in this process, each with its own values.
"""

import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import uvicorn
from fastapi import FastAPI

from benchmarks.candidates.loading import load
from gapsmith.core.settings import Settings
from gapsmith.dashboard import api
from gapsmith.dashboard.api.access import Access
from gapsmith.dashboard.api.limits import Limits, Rate
from gapsmith.dashboard.context import Context
from gapsmith.dashboard.settings import DashboardSettings
from gapsmith.stack.stack import EmbeddedStack
from gapsmith.store.database import Database
from gapsmith.store.migrate import migrate

CANDIDATES, MOLECULES = 1_000_000, 200_000  # of the latter QM9 has 130,831
PAGES, SEARCHES = 300, 3
EXPORTED = 200_000
PATIENT = Limits(*[Rate(1e6, 1_000_000)] * 5)
SMARTS = (  # common, middling, rare, not there at all, and such as keys say little of
    "C=O", "c1ccncc1", "[NX3;H2]", "[CX3H1]=O", "C1CC1C#N", "[N+]", "c1ccoc1C#C", "[$(C=O)]N", "[H]C=O", "N~N~N~N", "S",
    "C1CCCCCCC1", "[$([NX3;H2]C=O)]", "[CX2]",
)  # fmt: skip
SIMILAR = (
    "CCO",
    "c1ccncc1",
    "CC(=O)C=C",
    "N#CC1CC1O",
    "OCC1CC=CC1",
    "C1CC2CC1CO2",
    "CC#CC(C)=O",
    "Nc1ccoc1",
    "CC(C)(C)O",
)


def measure() -> dict[str, Any]:
    """Times in seconds."""
    with tempfile.TemporaryDirectory(prefix="gapsmith-bench-") as folder:
        stack = EmbeddedStack(Path(folder), {"kafka": "127.0.0.1:1", "celery": "redis://127.0.0.1:1/0"})
        try:
            url = stack.up().postgres_url
            migrate(url)
            with Database(url) as database:
                molecules, candidates = load(database, CANDIDATES, MOLECULES)
                return {"molecules": molecules, "candidates": candidates, **questions(database)}
        finally:
            stack.down()


def questions(database: Database) -> dict[str, Any]:
    """Ask a filled database."""
    app = FastAPI()
    context = Context(database, Settings(), DashboardSettings())
    app.include_router(api.router(context, Access(context, PATIENT)))
    with served(app) as address, httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
        return {
            "filtered_page": _pages(client),
            "smarts_first_page": {one: _first(client, {"smarts": one, "sort": "predicted_gap"}) for one in SMARTS},
            "similar_50": {one: _first(client, {"similar_to": one, "limit": 50}) for one in SIMILAR},
            "csv": _export(client),
        }


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Address of a server in a thread of this process."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


def _pages(client: httpx.Client) -> dict[str, float | str]:
    """First pages, and every third time the one after."""
    chance = random.Random(5)
    times: list[float] = []
    slowest: tuple[float, dict[str, Any]] = (0.0, {})
    while len(times) < PAGES:
        asked = _filters(chance)
        for _ in range(1 + (chance.random() < 0.3)):
            started = time.perf_counter()
            answer = client.get("/api/v1/candidates", params=asked)
            times.append(time.perf_counter() - started)
            assert answer.status_code == 200, answer.text
            slowest = max(slowest, (times[-1], asked), key=lambda one: one[0])
            if (cursor := answer.json()["next"]) is None:
                break
            asked = {**asked, "cursor": cursor}
    return {
        "pages": len(times),
        **{f"p{part}_s": round(float(np.percentile(times, part)), 4) for part in (50, 95, 99)},
        "max_s": round(slowest[0], 4),
        "slowest": str({name: value for name, value in slowest[1].items() if name != "cursor"}),
    }


def _filters(chance: random.Random) -> dict[str, Any]:
    """What people ask: a range or two, a state, a campaign, an order."""
    asked: dict[str, Any] = {"limit": 50}
    for name, low, high, width, share in (
        ("gap_ev", 3.0, 8.0, 0.4, 0.35),
        ("predicted_gap_ev", 3.0, 8.0, 0.4, 0.35),
        ("predicted_gap_std_ev", 0.0, 0.2, 0.2, 0.1),
        ("homo_ev", -7.0, -5.5, 1.0, 0.1),
        ("heavy_atoms", 5, 8, 2, 0.2),
        ("sa_score", 1.5, 4.0, 1.0, 0.2),
    ):
        if chance.random() < share:
            start = chance.uniform(low, high)
            asked |= {f"{name}_min": round(start, 2), f"{name}_max": round(start + width, 2)}
    if chance.random() < 0.6:
        asked["state"] = chance.choice(["labelled", "certified", "hit", "scored", "rejected"])
    if chance.random() < 0.3:
        asked["campaign"] = f"campaign-{chance.randrange(7)}"
    key = chance.choice(["created", "gap", "predicted_gap", "predicted_gap_std", "sa_score", "heavy_atoms", "dipole"])
    return {**asked, "sort": chance.choice(["", "-"]) + key}


def _first(client: httpx.Client, asked: dict[str, Any]) -> dict[str, float]:
    """Median and slowest of some times; how many were found, and whether there is more."""
    times: list[float] = []
    for _ in range(SEARCHES):
        started = time.perf_counter()
        answer = client.get("/api/v1/candidates", params=asked)
        times.append(time.perf_counter() - started)
        assert answer.status_code == 200, answer.text
    found = answer.json()
    return {
        "median_s": round(float(np.median(times)), 3),
        "max_s": round(max(times), 3),
        "found": len(found["items"]),
        "more": int(found["next"] is not None),
    }


def _export(client: httpx.Client) -> dict[str, float]:
    """Rows a second of a CSV of all columns, and how much memory grows meanwhile."""
    process = psutil.Process()
    asked: dict[str, str | int] = {"format": "csv", "state": "all", "limit": EXPORTED}
    lines = 0
    highest = before = process.memory_info().rss
    started = time.perf_counter()
    with client.stream("GET", "/api/v1/candidates", params=asked) as answer:
        for part in answer.iter_bytes():
            lines += part.count(b"\n")
            highest = max(highest, process.memory_info().rss)
    seconds = time.perf_counter() - started
    return {
        "rows": lines - 1,
        "rows_per_s": round((lines - 1) / seconds),
        "memory_growth_mib": round((highest - before) / (1 << 20), 1),
    }


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(measure())
