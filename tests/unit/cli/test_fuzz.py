"""A small part of ``python -m benchmarks fuzz``: mutated files and arguments end without traceback, hang or crash."""

import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.fuzz import COMMANDS, leaves

from gapsmith.cli.main import cli

CASES = range(50)
ALONE = """
from benchmarks.fuzz import outcomes
failed = [one for one in outcomes({cases}) if one.fault is not None]
for one in failed:
    print(one.number, one.fault, one.arguments, one.output[-1500:])
raise SystemExit(len(failed))
"""


@pytest.mark.slow
def test_mutated_files_and_arguments_end_in_a_sentence() -> None:
    """In a process of its own, which forks before it has threads."""
    code = ALONE.format(cases=list(CASES))
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


def test_every_command_is_among_them() -> None:
    lines = [f"{line} " for line in COMMANDS]
    known = [name for name, _ in leaves(cli) if not name.endswith(" serve")]
    assert [name for name in known if not any(line.startswith(f"{name} ") for line in lines)] == []
