"""Processes, lock, state: what recognises and ends what."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gapsmith.core.errors import InputError, UnavailableError
from gapsmith.stack.launch import launched
from gapsmith.stack.processes import (
    ProcessRecord,
    end,
    free_port,
    log_tail,
    marked,
    require_space,
    spawn,
    wait_until,
    working_in,
)
from gapsmith.stack.state import ServerRecord, State, locked, make_home, secret, write_private

pytestmark = pytest.mark.serial


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "100"], cwd=tmp_path, env={**os.environ, "GAPSMITH_TEST": "mark/1"})
    yield process
    process.kill()
    process.wait()


def test_a_taken_port_is_not_given_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port
    assert free_port(port) == port


def test_a_later_process_with_the_same_id_is_another_one(sleeper: subprocess.Popen[bytes]) -> None:
    record = ProcessRecord.of(sleeper.pid)
    assert record is not None
    assert record.process() is not None
    boot, _, ticks = record.started.partition("/")
    for other in (f"{boot}/{int(ticks) - 1}", f"{boot}/{int(ticks) + 1}", f"another-boot/{ticks}"):
        assert ProcessRecord(pid=record.pid, started=other).process() is None


@pytest.mark.parametrize("step_s", [-3600.0, -2.0, 2.0, 86400.0])
def test_a_process_is_the_same_after_the_clock_was_set(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    record = ProcessRecord.of(sleeper.pid)
    now, created = time.time, psutil.Process.create_time
    monkeypatch.setattr(time, "time", lambda: now() + step_s)
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: created(process) + step_s)
    assert record is not None
    assert record.process() is not None
    assert ProcessRecord.of(sleeper.pid) == record


def test_a_zombie_counts_as_dead(sleeper: subprocess.Popen[bytes]) -> None:
    record = ProcessRecord.of(sleeper.pid)
    sleeper.kill()
    assert record is not None
    assert wait_until(lambda: record.process() is None, 5)  # nobody has waited for it
    assert psutil.pid_exists(sleeper.pid)


def test_leftovers_are_found_by_folder_and_program(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert [process.pid for process in working_in(tmp_path, "sleep")] == [sleeper.pid]
    assert working_in(tmp_path, "postgres") == []
    assert working_in(tmp_path.parent, "sleep") == []


def test_leftovers_are_found_in_a_deleted_folder(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    process = subprocess.Popen(["sleep", "100"], cwd=folder)
    try:
        folder.rmdir()
        assert [found.pid for found in working_in(folder, "sleep")] == [process.pid]
    finally:
        process.kill()
        process.wait()


def test_marks_are_inherited_across_sessions() -> None:
    code = "import subprocess; subprocess.run(['sleep', '100'], start_new_session=True)"
    parent = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "GAPSMITH_TEST": "family/7"})
    try:
        assert wait_until(lambda: len(marked("GAPSMITH_TEST", "family/")) == 2, 20)
        assert marked("GAPSMITH_TEST", "stranger/") == []
    finally:
        assert end(marked("GAPSMITH_TEST", "family/"), first=signal.SIGKILL)
        parent.wait()


def test_a_deaf_process_is_killed(tmp_path: Path) -> None:
    script = "trap '' TERM; touch ready; while :; do sleep 0.1; done"
    process = subprocess.Popen(["sh", "-c", script], cwd=tmp_path)
    assert wait_until((tmp_path / "ready").exists, 10)
    assert end([psutil.Process(process.pid)], grace_s=0.3)
    assert process.wait(5) == -signal.SIGKILL


def test_a_spawned_program_is_out_of_reach_of_ctrl_c_and_writes_its_log(tmp_path: Path) -> None:
    process = spawn(["sh", "-c", "echo said; exec sleep 100"], log=tmp_path / "logs" / "x.log", cwd=tmp_path)
    try:
        assert os.getsid(process.pid) == process.pid != os.getsid(0)
        assert wait_until(lambda: log_tail(tmp_path / "logs" / "x.log") == "said", 10)
    finally:
        process.kill()
        process.wait()


def test_a_large_log_is_set_aside(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    with log.open("wb") as stream:
        stream.truncate(11 * 2**20)
    spawn(["true"], log=log, cwd=tmp_path).wait()
    assert log.stat().st_size == 0
    assert (tmp_path / "x.1.log").stat().st_size == 11 * 2**20


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no-such-server"):
        spawn(["/nowhere/no-such-server"], log=tmp_path / "x.log", cwd=tmp_path)


def test_a_full_disk_is_told_before_anything_starts(tmp_path: Path) -> None:
    require_space(tmp_path, 1)
    with pytest.raises(UnavailableError, match=r"is full.*GAPSMITH_HOME"):
        require_space(tmp_path, 2**40)


def test_only_one_holds_the_lock_and_the_next_one_gets_it(tmp_path: Path) -> None:
    path, order = tmp_path / "lock", []
    inside = threading.Event()

    def hold() -> None:
        with locked(path, timeout_s=5, busy="busy"):
            inside.set()
            time.sleep(0.3)
            order.append("first")

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(5)
    with pytest.raises(UnavailableError, match="somebody else"), locked(path, timeout_s=0, busy="somebody else"):
        pass
    with locked(path, timeout_s=5, busy="busy"):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    code = (
        "import sys,time,pathlib\nfrom gapsmith.stack.state import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), timeout_s=5, busy='busy'):\n"
        " print('held', flush=True)\n time.sleep(100)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.wait()
    with locked(tmp_path / "lock", timeout_s=0, busy="still held"):
        pass


def test_secrets_are_private_and_kept(tmp_path: Path) -> None:
    first = secret(tmp_path / "password")
    assert len(first) >= 24
    assert secret(tmp_path / "password") == first
    assert stat.S_IMODE((tmp_path / "password").stat().st_mode) == 0o600
    assert secret(tmp_path / "other") != first


def test_state_survives_and_damage_counts_as_empty(tmp_path: Path) -> None:
    path = tmp_path / "stack.json"
    state = State(servers={"kafka": ServerRecord(process=ProcessRecord(pid=1, started="boot/2"), port=3, token="t")})
    state.write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert State.read(path) == state
    path.write_text('{"servers": {"kafka":')
    assert State.read(path) == State()
    assert State.read(tmp_path / "absent") == State()


def test_a_home_that_is_a_file_or_read_only_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file.*GAPSMITH_HOME"):
        make_home(tmp_path / "file" / "home")
    with pytest.raises(InputError, match="GAPSMITH_HOME"):
        make_home(Path("/proc/gapsmith"))
    with pytest.raises(InputError, match="a file is there"):
        make_home(tmp_path / "file")
    with pytest.raises(InputError, match="File name too long"):
        make_home(tmp_path / ("h" * 300))


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o740, 0o750, 0o755, 0o770, 0o777])
def test_a_home_that_others_may_open_is_refused(tmp_path: Path, mode: int) -> None:
    make_home(tmp_path / "home")
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700
    (tmp_path / "home").chmod(mode)
    with pytest.raises(InputError, match=r"chmod 700 .*home"):
        make_home(tmp_path / "home")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_home_of_somebody_else_is_refused(tmp_path: Path) -> None:
    make_home(tmp_path / "home")
    os.chown(tmp_path / "home", 65534, 65534)
    with pytest.raises(InputError, match="belongs to another user"):
        make_home(tmp_path / "home")


def test_writing_to_a_missing_folder_says_where(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="absent"):
        write_private(tmp_path / "absent" / "file", "text")


def test_nothing_is_launched_through_python_without_need() -> None:
    assert launched(["sleep", "1"]) == ["sleep", "1"]


def test_a_launched_program_is_nicer() -> None:
    done = subprocess.run(launched(["nice"], niceness=3), capture_output=True, text=True, check=True, timeout=30)
    assert int(done.stdout) == os.nice(0) + 3


def test_a_launched_program_dies_with_its_parent() -> None:
    code = (
        "import os, subprocess, time\nfrom gapsmith.stack.launch import launched\n"
        "child = subprocess.Popen(launched(['sleep', '100'], die_with=os.getpid()), start_new_session=True)\n"
        "print(child.pid, flush=True)\ntime.sleep(100)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    assert wait_until(lambda: child.name() == "sleep", 20)
    parent.kill()
    parent.wait()
    assert wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 5)


def test_an_unknown_program_ends_with_127() -> None:
    done = subprocess.run(launched(["no-such-program"], niceness=1), capture_output=True, text=True, timeout=30)
    assert done.returncode == 127
    assert "no-such-program" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_becomes_a_user_who_still_passes_its_folders(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "file").write_text("content")
    script = f"id -un; cat {hidden / 'file'}"
    done = subprocess.run(launched(["sh", "-c", script], user="nobody"), capture_output=True, text=True, timeout=30)
    assert done.stdout == "nobody\ncontent", done.stderr
    assert stat.S_IMODE(hidden.stat().st_mode) == 0o700
