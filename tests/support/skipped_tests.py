"""A plug-in of pytest: a run ends with the tests that were skipped, why, and what to install so that they run.

``--skipped=FILE`` keeps them in a file, so that the last of several runs tells of all.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

PROGRAMS: Final = {  # by a word of the reason: Debian's packages
    "RabbitMQ": "rabbitmq-server",
    "MOPAC": "mopac",
    "Chromium": "chromium",
    "C compiler": "gcc libc6-dev",
    "C++ compiler": "g++",
}
PACKAGES: Final = {
    "could not import": "make dev",
    "Horovod": "make horovod",
}  # by a word of the reason: what installs them


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--skipped", type=Path, help="file that keeps what was skipped over several runs")


@pytest.hookimpl(wrapper=True, tryfirst=True)  # after everything that pytest itself prints
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> Iterator[None]:
    """Print the skipped tests of this run, and of those before it with the same file."""
    yield
    found = reasons(terminalreporter.stats.get("skipped", ()))
    if (path := config.getoption("--skipped")) is not None:
        found += Counter(json.loads(path.read_text() or "{}") if path.is_file() else {})
        path.write_text(json.dumps(found))
    if found:
        terminalreporter.section("skipped tests")
        for line in lines(found):
            terminalreporter.line(line)


def reasons(reports: Iterable[Any]) -> Counter[str]:
    """How many tests were skipped, by reason; ``longrepr`` of a skipped test is its file, line and reason."""
    return Counter(str(one.longrepr[2]).removeprefix("Skipped: ") for one in reports if isinstance(one.longrepr, tuple))


def lines(found: Mapping[str, int]) -> list[str]:
    """A line for each reason, the most frequent one first, and the command that installs what is missing."""
    told = [f"{count:5} {reason}" for reason, count in sorted(found.items(), key=lambda item: (-item[1], item[0]))]
    debian = sorted({package for word, package in PROGRAMS.items() if any(word in reason for reason in found)})
    commands = [command for word, command in PACKAGES.items() if any(word in reason for reason in found)]
    if debian:
        commands.insert(0, f"apt-get install --no-install-recommends {' '.join(debian)}")
    return [*told, *([f"to run them: {' && '.join(commands)}"] if commands else [])]
