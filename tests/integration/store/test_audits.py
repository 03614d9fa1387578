"""The records of the screen for hazards."""

import pytest
from click.testing import CliRunner

from gapsmith.coordinator.cli import campaign as command
from gapsmith.core.campaign import parse_campaign
from gapsmith.core.lifecycle import CampaignState
from gapsmith.core.settings import settings
from gapsmith.store import audits, campaigns, deleting
from gapsmith.store.database import Database

pytestmark = pytest.mark.service


def test_refusals_and_switching_off_are_recorded_and_outlive_the_campaign(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = {"value": 4.0}
    with database.transaction() as connection:
        on = campaigns.create(connection, parse_campaign({"name": "on", "target": target}), source="cli")
        off = parse_campaign({"name": "off", "target": target, "constraints": {"hazards": "off"}})
        campaigns.create(connection, off, source="cli")
        audits.refused(connection, on.id, {"azide-density": 2, "vesicant": 1}, source="generator")
        campaigns.set_state(connection, on.id, CampaignState.STOPPED, source="cli")
    with database.transaction() as connection:
        deleting.campaign(connection, on.id)
        found = [
            (row["campaign"], row["action"], row["hazard"], row["molecules"]) for row in audits.records(connection)
        ]
        assert [row["action"] for row in audits.records(connection, "off")] == ["switched_off"]
    assert sorted(found, key=str) == [
        ("off", "switched_off", None, None),
        ("on", "refused", "azide-density", 2),
        ("on", "refused", "vesicant", 1),
    ]
    monkeypatch.setenv("GAPSMITH_POSTGRES_URL", database.url)
    settings.cache_clear()
    try:
        printed = CliRunner().invoke(command, ["audit", "on"], catch_exceptions=False).output
    finally:
        settings.cache_clear()
    assert "azide-density" in printed
    assert "switched_off" not in printed
