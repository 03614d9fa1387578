"""Two hundred browsers that watch a busy campaign: what they cost the machine, and how soon a page shows and follows.

The same small campaign runs twice, unwatched and watched. The loop keeps all cores busy with DFT, so that processor time
of the dashboard and of Postgres is what it loses; the browsers' own, in this process, is not counted (they are elsewhere).
"""

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import yaml

from benchmarks.processes import of_home
from gapsmith.stack import dashboard
from gapsmith.stack.stack import EmbeddedStack

BROWSERS, LOADS = 200, 5
WAIT_S = 120.0
NAME = "watched"
CAMPAIGN = {
    "name": NAME,
    "target": {"property": "gap", "value": 6.0, "tolerance": 0.5},
    "constraints": {"elements": ["C", "N", "O"], "heavy_atoms": [4, 6]},
    "budget": {"dft_jobs": 20, "wall_time": "10m"},
    "dft": {"certify": False},
    "retraining": {"enabled": False},
    "acquisition": {"pool": 24},
    "seed": 1,
}
_SHOWN = """
    SELECT sequence, created_at FROM outbox
    WHERE type = 'gapsmith.calculation.finished.v1' AND sequence > %s ORDER BY sequence"""


def measure() -> dict[str, Any]:
    """Seconds, and shares of the cores."""
    alone, watched = _run(0), _run(BROWSERS)
    cost = sum(watched["share_of_cores"][name] - alone["share_of_cores"][name] for name in ("dashboard", "postgres"))
    return {"browsers": BROWSERS, "unwatched": alone, "watched": watched, "slowdown_at_most": round(cost, 4)}


def _run(browsers: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="gapsmith-bench-") as folder:
        home, file = Path(folder) / "home", Path(folder) / "campaign.yaml"
        file.write_text(yaml.safe_dump(CAMPAIGN))
        process = subprocess.Popen(
            [sys.executable, "-m", "gapsmith.cli.main", "run", str(file), "--results", str(Path(folder) / "results")],
            env={**os.environ, "GAPSMITH_HOME": str(home)},
            stdout=subprocess.DEVNULL,
        )
        try:
            address = _address(home)
            watch = _Watch(address, browsers)
            spent = _Spent(home)
            found: dict[str, Any] = {"first_paint_s": _painted(address)}  # unwatched, too: it costs the same in both
            process.wait(timeout=900)
            found |= spent.stop()
            watch.stop()
        finally:
            if process.poll() is None:
                process.kill()
        stack = EmbeddedStack(home)
        try:
            with psycopg.connect(stack.up().postgres_url) as connection:
                events = connection.execute(_SHOWN, (watch.first,)).fetchall()
                elapsed = connection.execute("SELECT elapsed_s FROM campaigns").fetchone()
        finally:
            stack.down()
    assert elapsed is not None
    late = watch.late(events)
    if late:
        found["event_to_browser_s"] = {
            "events": len(late),
            "median": round(statistics.median(late), 2),
            "most": round(max(late), 2),
        }
        found["mib_sent_to_each"] = round(watch.bytes / browsers / 2**20, 2)
    return {"exit_code": process.returncode, "campaign_s": round(elapsed[0], 1), **found}


def _address(home: Path) -> str:
    """Of the dashboard, once it knows the campaign."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if url := dashboard.url(home):
            try:
                if httpx.get(f"{url}/campaigns/{NAME}", timeout=10, trust_env=False).status_code == 200:
                    return url
            except httpx.HTTPError:
                pass
        time.sleep(0.2)
    raise TimeoutError(f"no dashboard showed the campaign within {WAIT_S:g} s")


def _painted(address: str) -> dict[str, float]:
    """First contentful paint of the campaign's page in a real browser, beside the busy loop."""
    from playwright.sync_api import sync_playwright

    times = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(LOADS):
            page = browser.new_context().new_page()
            page.goto(f"{address}/campaigns/{NAME}", wait_until="load")
            page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
            times.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000)
            page.context.close()
        browser.close()
    return {"median": round(statistics.median(times), 2), "most": round(max(times), 2)}


class _Watch:
    """Browsers' event streams, read in a thread; the first notes when it had seen which event."""

    def __init__(self, address: str, browsers: int) -> None:
        self.bytes, self.first = 0, 0
        self._seen: list[tuple[int, float]] = []  # number of the newest event shown, and when
        self._open = threading.Semaphore(0)
        self._loop = asyncio.new_event_loop()
        self._done = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._all(address, browsers),))
        self._thread.start()
        for _ in range(browsers):
            if not self._open.acquire(timeout=WAIT_S):
                raise TimeoutError("not all browsers were served")
        self.first = self._seen[-1][0] if self._seen else 0

    def stop(self) -> None:
        """End them all."""
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join()

    def late(self, events: list[tuple[int, datetime]]) -> list[float]:
        """Seconds from each event to the first look that has it, of those that came to be shown."""
        found = []
        for number, at in events:
            shown = next((when for seen, when in self._seen if seen >= number), None)
            if shown is not None:
                found.append(shown - at.timestamp())
        return found

    async def _all(self, address: str, browsers: int) -> None:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=address, timeout=None, limits=limits, trust_env=False) as client:
            watching = [asyncio.create_task(self._one(client, number == 0)) for number in range(browsers)]
            await self._done.wait()
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)

    async def _one(self, client: httpx.AsyncClient, notes: bool) -> None:
        started = False
        async with client.stream("GET", f"/live/campaigns/{NAME}") as response:
            async for line in response.aiter_lines():
                self.bytes += len(line)
                if line.startswith("id: "):
                    if notes:
                        self._seen.append((int(line[4:]), time.time()))
                    if not started:
                        started = True
                        self._open.release()


class _Spent:
    """Processor time of a home's processes from now on, by what they are."""

    def __init__(self, home: Path) -> None:
        self._home, self._began = home, time.monotonic()
        self._first: dict[int, float] = {}
        self._last: dict[int, tuple[str, float]] = {}
        self._stop = threading.Event()
        self._look(first=True)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, Any]:
        """Shares of all cores, and the seconds they are of."""
        self._stop.set()
        self._thread.join()
        took = time.monotonic() - self._began
        spent = {"dashboard": 0.0, "postgres": 0.0, "loop": 0.0}
        for pid, (kind, seconds) in self._last.items():
            spent[kind] += seconds - self._first.get(pid, 0.0)
        cores = (os.cpu_count() or 1) * took
        return {"seconds": round(took, 1), "share_of_cores": {k: round(v / cores, 4) for k, v in spent.items()}}

    def _run(self) -> None:
        while not self._stop.wait(2.0):
            self._look()

    def _look(self, *, first: bool = False) -> None:
        for process in of_home(self._home):
            try:
                name, words, times = process.name(), process.cmdline(), process.cpu_times()
            except psutil.Error:
                continue
            kind = "postgres" if "postgres" in name else "dashboard" if "dashboard" in words else "loop"
            self._last[process.pid] = kind, times.user + times.system
            if first:
                self._first[process.pid] = times.user + times.system
