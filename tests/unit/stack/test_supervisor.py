"""The supervisor on real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from gapsmith.core.errors import InputError, UnavailableError
from gapsmith.core.settings import Settings
from gapsmith.stack.hung import HeartbeatWatch
from gapsmith.stack.processes import wait_until
from gapsmith.stack.supervisor import (
    RestartPolicy,
    ServiceSpec,
    ServiceState,
    Supervisor,
    last_deaths,
    running_services,
)

pytestmark = [pytest.mark.slow, pytest.mark.serial, pytest.mark.timeout(90)]
QUICK = RestartPolicy(first_delay_s=0.05, longest_delay_s=0.4, healthy_after_s=60.0, most_deaths=4)
# A service whose child hides in its own session, as a calculation might.
PARENT = """
import subprocess, time
print(subprocess.Popen(["sleep", "1000"], start_new_session=True).pid, flush=True)
time.sleep(1000)
"""
# A command that starts a supervisor and never stops it.
OWNER = """
import os, sys, time
from pathlib import Path
from gapsmith.stack.supervisor import ServiceSpec, Supervisor
spec = ServiceSpec("dft", [sys.executable, "-c", sys.argv[2]])
Supervisor([spec], dict(os.environ), Path(sys.argv[1]) / "logs").start()
time.sleep(1000)
"""


def supervisor(tmp_path: Path, *specs: ServiceSpec, policy: RestartPolicy = QUICK, grace_s: float = 5.0) -> Supervisor:
    return Supervisor(specs, dict(os.environ), tmp_path / "logs", policy=policy, grace_s=grace_s)


def pid_of(watched: Supervisor, name: str) -> int | None:
    return next(status.pid for status in watched.statuses() if status.name == name)


def gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def printed_pid(log: Path) -> int | None:
    lines = log.read_text().split() if log.exists() else []
    return int(lines[-1]) if lines else None


def test_a_killed_service_is_started_again(tmp_path: Path) -> None:
    with supervisor(tmp_path, ServiceSpec("a", ["sleep", "1000"]), ServiceSpec("b", ["sleep", "1000"])) as watched:
        assert wait_until(lambda: set(running_services(tmp_path / "run")) == {"a", "b"}, 20)
        first, other = pid_of(watched, "a"), pid_of(watched, "b")
        assert running_services(tmp_path / "run") == {"a": first, "b": other}
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert wait_until(lambda: pid_of(watched, "a") not in (None, first), 20)
        status = watched.statuses()[0]
        assert (status.state, status.restarts) == (ServiceState.RUNNING, 1)
        assert "signal 9" in (status.reason or "")
        assert pid_of(watched, "b") == other
        assert watched.statuses()[1].restarts == 0
        last = [pid for pid in (status.pid, other) if pid is not None]
    assert all(map(gone, last))
    assert running_services(tmp_path / "run") == {}
    assert {status.state for status in watched.statuses()} == {ServiceState.STOPPED}


def test_a_hung_service_is_ended_and_said_to_be(tmp_path: Path) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    specs = [ServiceSpec(name, ["sleep", "1000"]) for name in ("beats", "hangs", "starts")]
    with supervisor(tmp_path, *specs) as watched:
        assert wait_until(lambda: set(running_services(tmp_path / "run")) == {"beats", "hangs", "starts"}, 20)
        before = {status.name: status.pid for status in watched.statuses()}
        watch = HeartbeatWatch(Settings(home=tmp_path), watched, silent_s=60.0)
        for second in range(0, 90, 5):  # "starts" was heard of in an earlier life only: it may take its time
            beats = {
                "beats": at + timedelta(seconds=second),
                "hangs": at + timedelta(seconds=min(second, 20)),
                "starts": at,
            }
            watch.look(beats, 1000.0 + second)
        assert wait_until(lambda: pid_of(watched, "hangs") not in (None, before["hangs"]), 20)
        (_, hung, _) = watched.statuses()
        assert (hung.state, hung.restarts) == (ServiceState.RUNNING, 1)
        assert (hung.reason or "").startswith("gave no heartbeat for 60 s and was ended")
        assert {name: pid_of(watched, name) for name in ("beats", "starts")} == {
            name: before[name] for name in ("beats", "starts")
        }
        (note,) = last_deaths(tmp_path / "run").items()
        assert note[0] == "hangs"
        assert "gave no heartbeat for 60 s and was ended" in note[1]
        assert note[1].endswith("started again")
        for second in range(1000, 1060, 5):  # Postgres was away, or the machine slept: silence begins anew
            watch.look({"beats": at, "hangs": at, "starts": at}, 1000.0 + second)
        assert pid_of(watched, "beats") == before["beats"]


def test_back_off_doubles_up_to_its_limit() -> None:
    policy = RestartPolicy(first_delay_s=0.5, longest_delay_s=30.0)
    assert [policy.delay_s(deaths) for deaths in range(1, 9)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_starts_are_apart_as_the_back_off_says_and_end_with_a_reason(tmp_path: Path) -> None:
    policy = RestartPolicy(first_delay_s=0.4, longest_delay_s=0.8, most_deaths=4)
    code = "import time,sys; print('at', time.time(), flush=True); sys.exit('no database at 10.0.0.1')"
    spec = ServiceSpec("broken", [sys.executable, "-c", code])
    with supervisor(tmp_path, spec, ServiceSpec("good", ["sleep", "1000"]), policy=policy) as watched:
        assert wait_until(lambda: bool(watched.failed()), 40)
        (status,) = watched.failed()
        assert (status.name, status.pid, status.restarts) == ("broken", None, 3)
        assert "exit code 1" in (status.reason or "")
        assert "no database at 10.0.0.1" in (status.reason or "")
        time.sleep(0.5)
        lines = (tmp_path / "logs" / "broken.log").read_text().splitlines()
        starts = [float(line.removeprefix("at ")) for line in lines if line.startswith("at ")]
        assert len(starts) == 4
        gaps = [later - earlier for earlier, later in pairwise(starts)]
        assert all(gap >= least for gap, least in zip(gaps, (0.4, 0.8, 0.8), strict=True))
        assert watched.statuses()[1].state is ServiceState.RUNNING


def test_health_wipes_out_earlier_deaths(tmp_path: Path) -> None:
    policy = RestartPolicy(first_delay_s=0.05, longest_delay_s=0.1, healthy_after_s=0.2, most_deaths=2)
    with supervisor(tmp_path, ServiceSpec("a", ["sleep", "0.6"]), policy=policy) as watched:
        assert wait_until(lambda: watched.statuses()[0].restarts >= 3, 30)
        assert watched.failed() == []


def test_stopping_ends_children_in_other_sessions(tmp_path: Path) -> None:
    with supervisor(tmp_path, ServiceSpec("dft", [sys.executable, "-c", PARENT])):
        log = tmp_path / "logs" / "dft.log"
        assert wait_until(lambda: printed_pid(log) is not None, 20)
        child = printed_pid(log)
        assert child is not None
        assert not gone(child)
    assert gone(child)


def test_a_killed_service_leaves_no_children(tmp_path: Path) -> None:
    with supervisor(tmp_path, ServiceSpec("dft", [sys.executable, "-c", PARENT])) as watched:
        log = tmp_path / "logs" / "dft.log"
        assert wait_until(lambda: printed_pid(log) is not None, 20)
        child, service = printed_pid(log), pid_of(watched, "dft")
        assert child is not None
        assert service is not None
        os.kill(service, signal.SIGKILL)
        assert wait_until(lambda: printed_pid(log) != child, 20)
        assert gone(child)


def test_a_service_that_ignores_sigterm_is_killed_after_the_grace_time(tmp_path: Path) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    watched = supervisor(tmp_path, ServiceSpec("deaf", ["sh", "-c", script]), grace_s=0.5)
    watched.start()
    assert wait_until(lambda: "ready" in _text(tmp_path / "logs" / "deaf.log"), 20)
    pid = pid_of(watched, "deaf")
    began = time.monotonic()
    watched.stop()
    assert 0.5 <= time.monotonic() - began < 10
    assert pid is not None
    assert gone(pid)


def test_a_service_may_end_in_its_own_way(tmp_path: Path) -> None:
    script = "trap 'echo farewell; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    with supervisor(tmp_path, ServiceSpec("polite", ["sh", "-c", script])):
        assert wait_until(lambda: "ready" in _text(tmp_path / "logs" / "polite.log"), 20)
    assert "farewell" in _text(tmp_path / "logs" / "polite.log")


def test_environment_and_niceness_reach_the_service(tmp_path: Path) -> None:
    spec = ServiceSpec("a", ["sh", "-c", "echo $ONE $TWO $(nice); exec sleep 100"], env={"TWO": "two"}, nice=4)
    watched = Supervisor([spec], {**os.environ, "ONE": "one", "TWO": "hidden"}, tmp_path / "logs")
    with watched:
        assert wait_until(lambda: _text(tmp_path / "logs" / "a.log") == f"one two {os.nice(0) + 4}\n", 20)


@pytest.mark.parametrize("also_watchdog", [False, True])
def test_kill_9_of_the_supervisor_leaves_nothing(tmp_path: Path, also_watchdog: bool) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path), PARENT])
    log = tmp_path / "logs" / "dft.log"
    assert wait_until(lambda: printed_pid(log) is not None, 40)
    child, service = printed_pid(log), running_services(tmp_path / "run")["dft"]
    assert child is not None
    if also_watchdog:
        for process in psutil.Process(owner.pid).children():
            if "gapsmith.stack.watchdog" in process.cmdline():
                process.kill()
    owner.kill()
    owner.wait()
    assert wait_until(lambda: gone(service), 20)
    if also_watchdog:  # the kernel ended the service; its child is found by the next supervisor of the folder
        assert not gone(child)
        supervisor(tmp_path).__enter__().stop()
    assert wait_until(lambda: gone(child), 20)


def test_two_supervisors_of_one_folder_are_one_too_many(tmp_path: Path) -> None:
    with supervisor(tmp_path, ServiceSpec("a", ["sleep", "1000"])) as watched:
        assert wait_until(lambda: pid_of(watched, "a") is not None, 20)
        with pytest.raises(UnavailableError, match="another gapsmith"):
            supervisor(tmp_path, ServiceSpec("a", ["sleep", "1000"])).start()
        assert watched.statuses()[0].state is ServiceState.RUNNING


def test_a_stale_pid_file_names_nobody(tmp_path: Path) -> None:
    (tmp_path / "a.pid").write_text(json.dumps({"pid": os.getpid(), "created": 1.0}))
    (tmp_path / "b.pid").write_text("not json")
    assert running_services(tmp_path) == {}


def test_names_are_unique(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="same name"):
        supervisor(tmp_path, ServiceSpec("a", ["true"]), ServiceSpec("a", ["true"]))


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


FULL_DISK = """
import sys, time
from pathlib import Path
import structlog
from gapsmith.core.logs import configure_logging, unfailing
from gapsmith.core.settings import Settings
from gapsmith.stack.supervisor import ServiceSpec, Supervisor
if sys.argv[1] == "services":
    configure_logging(Settings())
else:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=unfailing(sys.stderr)))
folder = Path(sys.argv[2])
with Supervisor([ServiceSpec("brief", ["false"])], {}, folder / "logs") as supervisor:
    until = time.monotonic() + 20
    while supervisor.statuses()[0].restarts < 2 and time.monotonic() < until:
        time.sleep(0.05)
    Path(folder / "restarts").write_text(str(supervisor.statuses()[0].restarts))
"""


@pytest.mark.parametrize("logging", ["services", "supervisor"])
def test_logs_on_a_full_disk_end_no_supervision(tmp_path: Path, logging: str) -> None:
    with open("/dev/full", "w") as full:
        subprocess.run([sys.executable, "-c", FULL_DISK, logging, tmp_path], stderr=full, stdout=full, timeout=60)
    assert int((tmp_path / "restarts").read_text()) >= 2
