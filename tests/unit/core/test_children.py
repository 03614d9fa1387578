"""Calls in child processes: results, errors, limits of time and memory, many threads, forks."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from gapsmith.core import children
from gapsmith.core.errors import InvalidMolecule, NotFound

pytestmark = pytest.mark.serial


@pytest.fixture(autouse=True, scope="module")
def importable() -> Iterator[None]:
    """Children find this module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
        children.close()
        yield
        children.close()


def child_echo(value: object) -> object:
    return value


def child_pid() -> int:
    return os.getpid()


def child_print() -> str:
    os.write(1, b"noise\n")
    print("more noise")
    return "quiet"


def child_sleep(seconds: float) -> None:
    time.sleep(seconds)


def child_refuse() -> None:
    raise InvalidMolecule("embedding", "it is flat")


def child_miss() -> None:
    raise NotFound("nothing is called x")


def child_break() -> None:
    raise KeyError("x")


def child_eat() -> int:
    return len(b"x" * (children.MEMORY_MB << 20))


def child_die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


call = partial(children.call, seconds=10.0)


@pytest.mark.parametrize("value", [None, 1.5, "\u00e4\n", [1, [2, {"a": None}]], "x" * 1_000_000])
def test_results_come_back_whole(value: object) -> None:
    assert call(child_echo, value) == value


def test_what_a_library_prints_is_not_taken_for_an_answer() -> None:
    assert call(child_print) == "quiet"


def test_a_child_lives_on() -> None:
    assert call(child_pid) == call(child_pid) != os.getpid()


def test_errors_are_the_same_as_without_a_child() -> None:
    with pytest.raises(InvalidMolecule, match="it is flat") as caught:
        call(child_refuse)
    assert caught.value.reason == "embedding"
    with pytest.raises(NotFound, match="nothing is called x"):
        call(child_miss)
    with pytest.raises(RuntimeError, match="KeyError: 'x'"):
        call(child_break)


@pytest.mark.parametrize(
    "function", [partial(call, child_sleep, 60), partial(call, child_eat), partial(call, child_die)]
)
def test_a_call_that_takes_too_much_ends_and_the_next_one_is_answered(function: partial[object]) -> None:
    started = time.monotonic()
    with pytest.raises(children.Overrun):
        function(seconds=1.0)
    assert time.monotonic() - started < 30
    assert call(child_echo, 1) == 1


def test_a_child_that_was_ended_while_it_waited_is_replaced() -> None:
    os.kill(call(child_pid), signal.SIGKILL)
    time.sleep(0.2)
    assert call(child_echo, 1) == 1


def test_threads_do_not_mix_answers() -> None:
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(partial(call, child_echo), range(200))) == list(range(200))


def test_a_forked_process_has_children_of_its_own() -> None:
    before = call(child_pid)
    if (child := os.fork()) == 0:
        os._exit(0 if call(child_pid) != before else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert call(child_pid) == before
