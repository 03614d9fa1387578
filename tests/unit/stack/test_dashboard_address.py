import os
import subprocess
import sys
from pathlib import Path

import pytest

from gapsmith.stack import dashboard

pytestmark = pytest.mark.serial

URL = "http://127.0.0.1:8700"


def test_an_address_is_written_found_and_removed(tmp_path: Path) -> None:
    assert dashboard.url(tmp_path) is None
    dashboard.write(tmp_path, URL)
    assert dashboard.url(tmp_path) == dashboard.own(tmp_path) == URL
    assert dashboard.wait(tmp_path, 0.0) == URL
    dashboard.remove(tmp_path)
    assert dashboard.url(tmp_path) is None


def test_another_processes_address_is_found_but_not_removed_while_it_lives(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from gapsmith.stack import dashboard
dashboard.write(Path({str(tmp_path)!r}), {URL!r})
print("written", flush=True)
sys.stdin.read()
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == b"written\n"
    assert child.pid != os.getpid()
    assert dashboard.url(tmp_path) == URL
    assert dashboard.own(tmp_path) is None
    dashboard.remove(tmp_path)
    assert dashboard.url(tmp_path) == URL
    child.stdin.close()
    child.wait(20)
    assert dashboard.url(tmp_path) is None  # it ended without a word


def test_a_damaged_file_is_no_address(tmp_path: Path) -> None:
    (tmp_path / "dashboard.json").write_text('{"process": {"pid"')
    assert dashboard.url(tmp_path) is None
    dashboard.remove(tmp_path)
