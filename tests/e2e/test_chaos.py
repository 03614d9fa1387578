"""A short chaos: twenty times a process is killed or stopped or the disk filled, and nothing is lost or done twice."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from benchmarks.chaos import Chaos

from gapsmith.stack.stack import EmbeddedStack

pytestmark = [pytest.mark.serial, pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(2400)]


@pytest.fixture
def home(service_folder: Path) -> Iterator[Path]:
    folder = service_folder / f"chaos-{uuid4().hex[:6]}"
    yield folder
    EmbeddedStack(folder).down()


def test_nothing_is_lost_or_done_twice_while_processes_are_killed(home: Path) -> None:
    found = Chaos(home, seed=7, pace=0.4).run(240.0, blows=20)
    assert sum(found["blows"].values()) >= 20, found
    assert found["events_lost"] == 0, found
    assert found["calculations_twice"] == 0, found
    assert found["deaths_unnoticed"] == 0, found
    assert found["campaigns_ended"] == found["campaigns"] > 0, found
