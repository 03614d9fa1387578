"""The embedded stack on real servers: what it survives, and that nothing is left of it."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from kafka import KafkaConsumer, KafkaProducer
from pydantic import SecretStr

from gapsmith.core.errors import InputError, UnavailableError
from gapsmith.core.settings import Settings
from gapsmith.stack.keeper import Keeper
from gapsmith.stack.launch import launched
from gapsmith.stack.processes import ended, wait_until, working_in
from gapsmith.stack.stack import Addresses, EmbeddedStack
from gapsmith.stack.state import State
from gapsmith.stack.topics import cluster_id, create_topics, topic_names

pytestmark = [pytest.mark.serial, pytest.mark.service, pytest.mark.timeout(600)]
UP = """
import sys
from pathlib import Path
from gapsmith.stack.stack import EmbeddedStack
addresses = EmbeddedStack(Path(sys.argv[1])).up()
print("\\n".join(addresses.environment().values()))
"""


@pytest.fixture(scope="module")
def home(service_folder: Path) -> Path:
    return service_folder / "stack"


@pytest.fixture(scope="module")
def stack(home: Path) -> Iterator[EmbeddedStack]:
    stack = EmbeddedStack(home)
    yield stack
    stack.down()


@pytest.fixture
def addresses(stack: EmbeddedStack) -> Addresses:
    return stack.up()


def pids(stack: EmbeddedStack) -> dict[str, int | None]:
    return {status.name: status.pid for status in stack.status()}


def everything_in(home: Path) -> list[psutil.Process]:
    """Every process of any name that works in a folder of the stack."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.cwd().startswith(str(home)) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def kill_everything(home: Path) -> None:
    for process in everything_in(home):
        with contextlib.suppress(psutil.Error):
            process.kill()
    assert wait_until(lambda: not everything_in(home), 60)


def note(addresses: Addresses, text: str) -> list[str]:
    """Write a line into the database and read all lines."""
    with psycopg.connect(addresses.postgres_url, connect_timeout=60) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (id serial, line text)")
        connection.execute("INSERT INTO notes (line) VALUES (%s)", (text,))
        rows = connection.execute("SELECT line FROM notes ORDER BY id").fetchall()
    return [row[0] for row in rows]


def usable(addresses: Addresses) -> None:
    """All three servers do their work."""
    note(addresses, "used")
    assert create_topics(addresses.kafka_bootstrap) == []  # `up` has created them
    client = redis.Redis.from_url(addresses.celery_broker_url, socket_timeout=60)
    client.rpush("queue", "job")
    assert client.lpop("queue") == b"job"
    client.close()


def test_all_three_answer_and_a_second_up_changes_nothing(stack: EmbeddedStack, addresses: Addresses) -> None:
    usable(addresses)
    before = pids(stack)
    assert {status.state for status in stack.status()} == {"running"}
    assert stack.up() == addresses
    assert EmbeddedStack(stack.home).up() == addresses
    assert EmbeddedStack(stack.home).find() == addresses
    assert pids(stack) == before


def test_secrets_are_private_and_needed(stack: EmbeddedStack, addresses: Addresses) -> None:
    for file in ("stack.json", "postgres/password", "valkey/password", "valkey/valkey.conf"):
        assert stat.S_IMODE((stack.home / file).stat().st_mode) == 0o600
    password = (stack.home / "postgres/password").read_text()
    assert password in addresses.postgres_url
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(addresses.postgres_url.replace(password, "guess"), connect_timeout=60)
    port = int(addresses.celery_broker_url.rpartition(":")[2].partition("/")[0])
    with pytest.raises(redis.AuthenticationError):
        redis.Redis("127.0.0.1", port, socket_timeout=60).ping()
    command_lines = " ".join(" ".join(process.cmdline()) for process in everything_in(stack.home))
    assert (stack.home / "valkey/password").read_text() not in command_lines
    assert password not in repr(addresses)


def test_servers_listen_on_loopback_only_and_out_of_the_terminals_reach(
    stack: EmbeddedStack, addresses: Addresses
) -> None:
    for pid in pids(stack).values():
        assert pid is not None
        assert os.getsid(pid) == pid
        listening = [c for c in psutil.Process(pid).net_connections() if c.status == psutil.CONN_LISTEN]
        assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}


def test_a_server_that_seems_gone_is_asked_before_it_is_ended(stack: EmbeddedStack, addresses: Addresses) -> None:
    note(addresses, "before the record was lost")
    before = pids(stack)
    file = stack.home / "stack.json"
    state = State.read(file)
    other = {
        name: record.model_copy(update={"process": record.process.model_copy(update={"started": "another-boot/1"})})
        for name, record in state.servers.items()
    }
    State(servers=other).write(file)
    assert stack.find() is None
    assert set(stack.crashed()) == {"postgres", "kafka", "celery"}
    assert stack.up() == addresses
    assert pids(stack) == before
    assert State.read(file) == state
    assert stack.crashed() == []


@pytest.mark.parametrize("name", ["postgres", "kafka", "celery"])
def test_a_killed_server_is_started_again_alone(stack: EmbeddedStack, addresses: Addresses, name: str) -> None:
    mark = f"before {name} {time.time()}"
    note(addresses, mark)
    before = pids(stack)
    victim = before[name]
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    assert wait_until(lambda: stack.crashed() == [name], 60)
    assert stack.find() is None
    again = stack.up()
    usable(again)
    assert mark in note(again, "after")
    after = pids(stack)
    assert after.pop(name) != before.pop(name)
    assert after == before
    assert again == addresses  # the same port, so that services find it again


def test_kill_9_of_everything_loses_no_row(stack: EmbeddedStack, addresses: Addresses) -> None:
    note(addresses, "written before the crash")
    kill_everything(stack.home)
    assert "written before the crash" in note(stack.up(), "after")


def test_a_restarted_broker_has_another_cluster_id(stack: EmbeddedStack, addresses: Addresses) -> None:
    before = cluster_id(addresses.kafka_bootstrap)
    assert cluster_id(addresses.kafka_bootstrap) == before
    kill_everything(stack.home / "kafka")
    assert cluster_id(stack.up().kafka_bootstrap) != before


def test_messages_pass_through_a_group(addresses: Addresses) -> None:
    topic = topic_names()[0]
    producer = KafkaProducer(
        bootstrap_servers=addresses.kafka_bootstrap, enable_idempotence=False, bootstrap_timeout_ms=60_000
    )
    producer.send(topic, key=b"key", value=b"news").get(timeout=120)
    producer.close(timeout=60)
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=addresses.kafka_bootstrap,
        group_id="test",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=30_000,
        heartbeat_interval_ms=1_000,
        bootstrap_timeout_ms=60_000,
    )
    assert len(consumer.partitions_for_topic(topic)) == 4
    deadline = time.monotonic() + 120
    values: list[bytes] = []
    while not values and time.monotonic() < deadline:
        values = [record.value for records in consumer.poll(timeout_ms=500).values() for record in records]
    consumer.commit()
    consumer.close(timeout_ms=5_000)
    assert values == [b"news"]


def bound(holder: socket.socket, port: int) -> bool:
    try:
        holder.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def test_a_taken_port_is_left_to_its_holder(stack: EmbeddedStack, addresses: Addresses) -> None:
    kill_everything(stack.home / "kafka")
    port = int(addresses.kafka_bootstrap.rpartition(":")[2])
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        assert wait_until(lambda: bound(holder, port), 120.0)  # a killed server's connections may linger
        holder.listen()
        again = stack.up()
    assert again.kafka_bootstrap != addresses.kafka_bootstrap
    usable(again)


def test_a_lost_state_file_loses_nothing_else(stack: EmbeddedStack, addresses: Addresses) -> None:
    note(addresses, "state was lost later")
    (stack.home / "stack.json").unlink()
    again = stack.up()
    assert "state was lost later" in note(again, "after")
    assert len(working_in(stack.home / "kafka", "tansu")) == 1


def test_a_lost_password_is_replaced(stack: EmbeddedStack, addresses: Addresses) -> None:
    note(addresses, "password was lost later")
    stack.down()
    (stack.home / "postgres" / "password").unlink()
    again = stack.up()
    assert again.postgres_url != addresses.postgres_url
    assert "password was lost later" in note(again, "after")


@pytest.mark.parametrize("when", ["running", "stopped"])
def test_passwords_that_the_server_does_not_know_are_replaced(
    stack: EmbeddedStack, addresses: Addresses, when: str
) -> None:
    """As a reset leaves them that is killed before the server learns of it."""
    note(addresses, f"passwords were wrong later, {when}")
    if when == "stopped":
        stack.down()
    for name in ("password", "admin-password"):
        (stack.home / "postgres" / name).write_text("unknown-to-the-server")
    again = EmbeddedStack(stack.home, patience_s=2.0).up()
    assert f"passwords were wrong later, {when}" in note(again, "after")
    assert not list((stack.home / "postgres").glob("*.new"))


def test_services_do_not_rule_the_server(stack: EmbeddedStack, addresses: Addresses) -> None:
    with psycopg.connect(addresses.postgres_url, autocommit=True, connect_timeout=60) as link:
        row = link.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles "
            "WHERE rolname = current_user"
        ).fetchone()
        assert row == (False,) * 5
        for statement in (
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "SELECT pg_read_file('PG_VERSION')",
            "ALTER SYSTEM SET fsync = off",
            "CREATE ROLE another SUPERUSER",
            "SET ROLE postgres",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                link.execute(statement)


def test_stale_pid_file_with_the_number_of_a_living_process(stack: EmbeddedStack, addresses: Addresses) -> None:
    kill_everything(stack.home)
    file = stack.home / "postgres" / "data" / "postmaster.pid"
    lines = file.read_text().splitlines()
    stranger = subprocess.Popen(["sleep", "100"])
    try:
        file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        usable(stack.up())
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_stopped_server_is_replaced(stack: EmbeddedStack, addresses: Addresses) -> None:
    hung = pids(stack)["celery"]
    assert hung is not None
    os.kill(hung, signal.SIGSTOP)
    hangs = {"postgres": "running", "kafka": "running", "celery": "not answering"}
    assert wait_until(lambda: {status.name: status.state for status in stack.status()} == hangs, 120)
    usable(EmbeddedStack(stack.home, patience_s=0.0).up())
    assert pids(stack)["celery"] != hung


def test_the_keeper_starts_a_crashed_server_again(stack: EmbeddedStack, addresses: Addresses) -> None:
    keeper = Keeper(stack, interval_s=0.1)
    keeper.start()
    try:
        victim = pids(stack)["celery"]
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        assert wait_until(lambda: pids(stack)["celery"] not in (None, victim), 120)
        assert wait_until(lambda: {status.state for status in stack.status()} == {"running"}, 120)
        assert stack.find() == addresses
        usable(addresses)
        assert keeper.problem is None
    finally:
        keeper.stop()


def test_down_leaves_nothing_and_up_finds_the_data(stack: EmbeddedStack, addresses: Addresses) -> None:
    note(addresses, "before down")
    assert sorted(stack.down()) == ["celery", "kafka", "postgres"]
    assert everything_in(stack.home) == []
    assert not (stack.home / "stack.json").exists()
    assert {status.state for status in stack.status()} == {"stopped"}
    assert stack.crashed() == []
    assert stack.down() == []
    assert "before down" in note(stack.up(), "after")


def test_the_keeper_does_not_undo_down(stack: EmbeddedStack, addresses: Addresses) -> None:
    watching = EmbeddedStack(stack.home)
    assert watching.find() == addresses
    keeper = Keeper(watching, interval_s=0.01)
    keeper.start()
    try:
        stack.down()  # it sees the servers go, one after another, before the state file does
        time.sleep(2)
        assert everything_in(stack.home) == []
        assert watching.stopped()
    finally:
        keeper.stop()


def test_two_at_once_from_nothing(service_folder: Path) -> None:
    home = service_folder / "twice"
    racers = [subprocess.Popen([sys.executable, "-c", UP, str(home)], stdout=subprocess.PIPE, text=True) for _ in "ab"]
    try:
        said = [racer.communicate(timeout=400)[0].splitlines()[-3:] for racer in racers]
        assert [racer.returncode for racer in racers] == [0, 0]
        assert said[0] == said[1]
        assert len(working_in(home / "kafka", "tansu")) == 1
        usable(Addresses(*said[0]))  # they outlive the commands that started them
    finally:
        EmbeddedStack(home).down()
        shutil.rmtree(home, ignore_errors=True)


def test_a_home_that_was_deleted_under_its_servers(service_folder: Path) -> None:
    home = service_folder / ("long-name-" * 12) / "that no Unix socket could have"
    stack = EmbeddedStack(home)
    try:
        usable(stack.up())
        old = [psutil.Process(pid) for pid in pids(stack).values()]
        shutil.rmtree(home)
        usable(stack.up())
        assert wait_until(lambda: all(map(ended, old)), 120)
    finally:
        stack.down()
        shutil.rmtree(home.parent, ignore_errors=True)


def test_a_killed_first_start_is_started_afresh(service_folder: Path) -> None:
    home = service_folder / "half"
    command = subprocess.Popen([sys.executable, "-c", UP, str(home)], stdout=subprocess.DEVNULL)
    try:
        assert wait_until((home / "postgres" / "data.new" / "PG_VERSION").exists, 120, 0.005)
        command.kill()
        command.wait()
        assert not (home / "postgres" / "data").exists()
        usable(EmbeddedStack(home).up())
        assert not (home / "postgres" / "data.new").exists()
    finally:
        command.kill()
        command.wait()
        EmbeddedStack(home).down()
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_needs_no_root(service_folder: Path) -> None:
    home = service_folder / "ordinary"
    home.mkdir(mode=0o700)
    account = pwd.getpwnam("nobody")
    os.chown(home, account.pw_uid, account.pw_gid)
    argv = launched([sys.executable, "-c", UP, str(home)], user="nobody")
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=400, cwd="/")
        assert done.returncode == 0, done.stderr
        owners = {process.username() for process in everything_in(home)}
        assert owners == {"nobody"}
        found = EmbeddedStack(home).find()  # root finds it and may use it
        assert found is not None
        usable(found)
    finally:
        EmbeddedStack(home).down()
        shutil.rmtree(home, ignore_errors=True)


def test_external_servers_are_not_started(service_folder: Path) -> None:
    home = service_folder / "external"
    given = Settings(
        home=home,
        postgres_url=SecretStr("postgresql://a:b@db.example:5432/c"),
        kafka_bootstrap="kafka.example:9092",
        celery_broker_url=SecretStr("amqp://a:b@rabbit.example"),
    )
    all_external = EmbeddedStack.of(given)
    assert all_external.up().apply(Settings(home=home)) == given
    assert not home.exists()
    only_broker = EmbeddedStack.of(given.model_copy(update={"celery_broker_url": None}))
    try:
        addresses = only_broker.up()
        assert (addresses.postgres_url, addresses.kafka_bootstrap) == (
            "postgresql://a:b@db.example:5432/c",
            "kafka.example:9092",
        )
        assert {(status.name, status.state) for status in only_broker.status()} == {
            ("postgres", "external"),
            ("kafka", "external"),
            ("celery", "running"),
        }
        assert {process.name() for process in everything_in(home)} == {"valkey-server"}
    finally:
        only_broker.down()
        shutil.rmtree(home, ignore_errors=True)


def test_an_unwritable_home_is_named() -> None:
    with pytest.raises(InputError, match=r"/proc/gapsmith.*GAPSMITH_HOME"):
        EmbeddedStack(Path("/proc/gapsmith")).up()


def test_a_server_that_cannot_start_says_why(service_folder: Path) -> None:
    home = service_folder / "broken"
    home.mkdir(mode=0o700)
    (home / "postgres" / "data").mkdir(parents=True)
    (home / "postgres" / "data" / "PG_VERSION").write_text("11\n")
    stack = EmbeddedStack(home, {"kafka": "x", "celery": "y"})
    with pytest.raises(UnavailableError, match="written by Postgres 11"):
        stack.up()
    assert everything_in(home) == []


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", tmp_path], capture_output=True
        ).returncode
    ):
        pytest.skip("a small disk cannot be mounted here")
    try:
        with pytest.raises(UnavailableError, match=r"disk of .* is full"):
            EmbeddedStack(tmp_path).up()
        assert everything_in(tmp_path) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_no_broker_is_an_error_with_its_address() -> None:
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1 .*gapsmith up"):
        create_topics("127.0.0.1:1", timeout_s=1.0)


def test_topics_are_those_of_the_events() -> None:
    names = topic_names()
    assert len(names) == len(set(names)) == 10
    assert "gapsmith.dead-letters" in names
