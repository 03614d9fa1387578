"""The coordinator as a process of its own, with a real broker: killed in the middle, started again, stopped."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from gapsmith.core.messages import CalculationRequested, GenerateRequested
from gapsmith.core.settings import Settings


def start(settings: Settings) -> subprocess.Popen[bytes]:
    """Start the service."""
    assert settings.postgres_url is not None
    env = {
        **os.environ,
        "GAPSMITH_HOME": str(settings.home),
        "GAPSMITH_POSTGRES_URL": settings.postgres_url.get_secret_value(),
        "GAPSMITH_KAFKA_BOOTSTRAP": settings.kafka_bootstrap or "",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen([sys.executable, "-m", "gapsmith.cli.main", "coordinator", "serve"], env=env)


def wait_for(truth: Callable[[], bool], seconds: float = 200.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.2)


def test_a_killed_coordinator_goes_on_where_it_was(world: Any, settings: Settings) -> None:
    campaign = world.campaign()
    process = start(settings)
    try:
        wait_for(lambda: bool(world.events(GenerateRequested)))
        process.kill()
        process.wait()
        asked = len(world.events(GenerateRequested))
        world.score(campaign, [world.guess(4.0) for _ in range(8)])
        process = start(settings)
        wait_for(lambda: bool(world.events(CalculationRequested)))
        assert len(world.events(CalculationRequested)) == settings.dft_workers + 1
        assert len(world.events(GenerateRequested)) == asked  # what was asked before is still on its way
        wait_for(lambda: not world.rows("SELECT 1 FROM outbox WHERE published_at IS NULL"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.wait()
