"""``gapsmith worker``: where the key comes from."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from gapsmith.core.errors import InputError
from gapsmith.core.settings import settings
from gapsmith.dft_queue.cli.worker import worker


def test_without_a_key_and_anybody_to_ask_it_says_what_to_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAPSMITH_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    try:
        done = CliRunner().invoke(worker, ["--join", "127.0.0.1:1"], input="")
    finally:
        settings.cache_clear()
    assert isinstance(done.exception, InputError)
    assert "has no key" in str(done.exception)
    assert list((tmp_path / "home").glob("joined-*")) == []
