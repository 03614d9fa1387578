"""Heartbeats on a real Postgres: what processes say of themselves, and when they are forgotten."""

import os
import socket
import subprocess
import sys
from uuid import uuid4

import pytest

from gapsmith.core.campaign import parse_campaign
from gapsmith.store import campaigns, heartbeats
from gapsmith.store.database import Database

pytestmark = pytest.mark.service


def test_a_process_says_where_it_runs_and_what_it_works_on(database: Database) -> None:
    calculation = uuid4()
    with database.transaction() as connection:
        config = parse_campaign({"name": "gaps", "target": {"value": 4.0}})
        campaign = campaigns.create(connection, config, source="test")
        heartbeats.beat(connection, "surrogate", "score", campaign_id=campaign.id)
        heartbeats.beat(
            connection, "dft_worker", "computing 1", queues=["xtb"], calculation_ids=[calculation], host="node-7", pid=9
        )
        worker, surrogate = heartbeats.listed(connection)
        heartbeats.beat(connection, "surrogate", "idle")
        _, idle = heartbeats.listed(connection)
    assert (worker.host, worker.pid, worker.queues, worker.calculation_ids) == ("node-7", 9, ["xtb"], [calculation])
    assert (surrogate.host, surrogate.pid) == (socket.gethostname(), os.getpid())
    assert (surrogate.activity, surrogate.campaign, surrogate.state) == ("score", "gaps", "healthy")
    assert (idle.activity, idle.campaign) == ("idle", None)


def test_a_process_that_is_gone_is_forgotten_by_the_next_of_its_host(database: Database) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with database.transaction() as connection:
        for host, pid in ((None, gone.pid), (None, os.getppid()), ("elsewhere", gone.pid)):
            heartbeats.beat(connection, "trainer", "train", host=host, pid=pid)
        heartbeats.beat(connection, "generator", "idle")
        assert len(heartbeats.alive(connection)) == 4  # it may have beaten a moment ago
        connection.execute("UPDATE heartbeats SET seen_at = now() - interval '5 minutes' WHERE service = 'trainer'")
        heartbeats.beat(connection, "generator", "idle")
        silent = [(one.host, one.pid) for one in heartbeats.listed(connection) if one.state == "silent"]
    assert silent == sorted([("elsewhere", gone.pid), (socket.gethostname(), os.getppid())])


def test_a_silent_process_with_a_successor_is_not_listed(database: Database) -> None:
    with database.transaction() as connection:
        heartbeats.beat(connection, "dft_worker", "idle", host="node-7", pid=1)
        heartbeats.beat(connection, "dft_worker", "idle", host="node-8", pid=1)
        connection.execute("UPDATE heartbeats SET seen_at = now() - interval '5 minutes'")
        heartbeats.beat(connection, "dft_worker", "idle", host="node-7", pid=2)
        assert [(one.host, one.pid) for one in heartbeats.listed(connection)] == [("node-7", 2), ("node-8", 1)]
        assert [one.host for one in heartbeats.alive(connection)] == ["node-7"]
        heartbeats.end(connection, "dft_worker", host="node-7", pid=2)
        assert not heartbeats.alive(connection)
