"""What a log line says beside its message."""

import io
import json
from uuid import uuid4

import pytest
import structlog

from gapsmith.core.logs import concerning, configure_logging
from gapsmith.core.settings import Settings


def test_lines_carry_the_ids_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    before = structlog.get_config()
    campaign, event = uuid4(), uuid4()
    try:
        configure_logging(Settings(log_json=True))
        log = structlog.get_logger()
        with concerning(campaign_id=campaign, event_id=event, calculation_id=None):
            log.info("handled", seconds=1)
            with concerning(calculation_id=event):
                log.info("computed")
            log.info("over")
        log.info("idle")
    finally:
        structlog.configure(**before)
    handled, computed, over, idle = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (handled["event"], handled["campaign_id"], handled["event_id"]) == ("handled", str(campaign), str(event))
    assert "calculation_id" not in handled
    assert (computed["campaign_id"], computed["calculation_id"]) == (str(campaign), str(event))
    assert "calculation_id" not in over
    assert not {"campaign_id", "event_id", "calculation_id"} & set(idle)
