"""The bell of the DFT queue on real brokers, Valkey and RabbitMQ: what a message holds, and what becomes of it in faults."""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID, uuid4

import psutil
import pytest
from celery import Celery
from kombu.entity import Exchange, Queue
from rabbitmq_node import Node

from gapsmith.core.errors import InputError, UnavailableError
from gapsmith.core.settings import Settings
from gapsmith.dft_queue.app import (
    ANSWER_S,
    DEAD,
    EXCHANGE,
    MOST_RETURNS,
    QUEUES,
    TASK,
    dead,
    declare,
    depth,
    make_app,
    ring,
)
from gapsmith.stack.processes import wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(600)]

PATIENCE_S = 240.0  # a crowded machine may take many times its usual time
NEW_QUEUE_S = 8.0  # after which RabbitMQ surely has a new queue on disk; confirmed messages are there at once
VISIBILITY_S = 2  # of Redis, in place of a day

# A worker that writes down what it was woken for; after the word "hold" it never comes back from a task.
WORKER = f"""
import sys, time
from gapsmith.core.settings import Settings
from gapsmith.dft_queue.app import QUEUES, TASK, make_app
app = make_app(Settings())
if "visibility_timeout" in app.conf.broker_transport_options:
    app.conf.broker_transport_options["visibility_timeout"] = {VISIBILITY_S}
@app.task(name=TASK)
def calculate(calculation_id):
    print(calculation_id, file=sys.__stdout__, flush=True)
    time.sleep(3600 if sys.argv[1] == "hold" else 0)
worker = app.Worker(pool="threads", concurrency=1, queues=[QUEUES["dft"]], without_gossip=True, without_mingle=True,
    loglevel="WARNING", quiet=True)
worker.start()
sys.exit(worker.exitcode)
"""


class Worker:
    """A process of its own at the queue ``dft``."""

    def __init__(self, url: str, log: Path, word: str = "") -> None:
        self.log = log
        environment = {**os.environ, "GAPSMITH_CELERY_BROKER_URL": url, "OMP_NUM_THREADS": "1"}
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", WORKER, word], env=environment, stdout=output, stderr=subprocess.STDOUT
            )

    def was_woken_for(self, calculation_id: UUID) -> bool:
        """Whether it has received a message with that id."""
        assert self.process.poll() is None, self.log.read_text()
        return str(calculation_id) in self.log.read_text().splitlines()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Starts workers; they end with the test."""
    started: list[Worker] = []

    def start(url: str, word: str = "") -> Worker:
        started.append(Worker(url, tmp_path / f"worker-{len(started)}.log", word))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait(120)


def application(url: str) -> Celery:
    return make_app(Settings.model_validate({"celery_broker_url": url}))


def soon(condition: Callable[[], bool]) -> None:
    assert wait_until(condition, PATIENCE_S, 0.1)


def counted(app: Celery, queue: str) -> int | None:
    """Messages that wait; None while a node that was started again reads its log."""
    try:
        return depth(app, queue)
    except UnavailableError:
        return None


def rung(app: Celery, calculation_id: UUID) -> bool:
    """Whether a message went out; not while a node that was started again finds its queues."""
    try:
        ring(app, "dft", [calculation_id])
    except UnavailableError:
        return False
    return True


def take(channel: Any, queue: str) -> Any:
    """The next message of a queue, unacknowledged; waits for it."""
    found: list[Any] = []

    def arrived() -> bool:
        found.append(channel.basic_get(queue))
        return found[-1] is not None

    soon(arrived)
    return channel.message_to_python(found[-1])


def without_secret(error: pytest.ExceptionInfo[UnavailableError], url: str) -> bool:
    password = urlsplit(url).password
    assert password
    return password not in str(error.value) and quote(password, safe="") not in str(error.value)


def listening(process: psutil.Process) -> set[int]:
    """Ports that a broker listens on; none if the process is something else, or gone."""
    try:
        if process.name() not in ("valkey-server", "beam.smp"):
            return set()
        return {found.laddr.port for found in process.net_connections("tcp") if found.status == psutil.CONN_LISTEN}
    except psutil.Error:
        return set()


def test_a_message_is_json_and_holds_an_id_and_nothing_else(broker_url: str) -> None:
    app, calculation_id = application(broker_url), uuid4()
    ring(app, "dft", [calculation_id])
    with app.connection_for_read() as connection, connection.channel() as channel:
        message = take(channel, QUEUES["dft"])
        arguments, keywords, embedded = message.decode()
        assert (arguments, keywords) == ([str(calculation_id)], {})
        assert not any(embedded.values())
        assert message.content_type == "application/json"
        assert message.headers["task"] == TASK
        assert message.properties["delivery_mode"] == 2  # kept on disk, where the broker has one
        assert not message.properties.get("priority")
        message.ack()


def test_each_kind_of_job_has_its_queue_and_its_count(broker_url: str) -> None:
    app = application(broker_url)
    declare(app)
    declare(app)
    assert (depth(app, "xtb"), depth(app, "dft"), dead(app)) == (0, 0, 0)
    ring(app, "dft", [uuid4(), uuid4()])
    ring(app, "xtb", [uuid4()])
    ring(app, "xtb", [])
    assert (depth(app, "xtb"), depth(app, "dft"), dead(app)) == (1, 2, 0)


class Harmful:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Path]]:
        return Path.touch, (self.file,)


def test_what_is_no_message_of_ours_is_refused_and_the_worker_lives(
    broker_url: str, worker: Callable[..., Worker], tmp_path: Path
) -> None:
    app, calculation_id, trap = application(broker_url), uuid4(), tmp_path / "trap"
    declare(app)
    with app.connection_for_write() as connection:
        producer = app.amqp.Producer(connection)
        to = {"exchange": EXCHANGE, "routing_key": QUEUES["dft"]}
        headers = {"lang": "py", "task": TASK, "id": str(uuid4())}
        pickled = pickle.dumps(((Harmful(trap),), {}, {}))
        binary = {"content_type": "application/x-python-serialize", "content_encoding": "binary"}
        producer.publish(pickled, headers=headers, **binary, **to)
        app.send_task("os.system", args=["true"], queue=QUEUES["dft"], producer=producer)
    one = worker(broker_url)
    ring(app, "dft", [calculation_id])
    soon(lambda: one.was_woken_for(calculation_id))
    assert not trap.exists()
    log = one.log.read_text()
    assert "Refusing to deserialize" in log
    assert "os.system" in log  # it names the task that it does not know
    soon(lambda: depth(app, "dft") == 0)
    if broker_url.startswith("amqp"):
        soon(lambda: dead(app) == 2)


def test_a_worker_killed_before_its_acknowledgement_gives_the_message_back(
    broker_url: str, worker: Callable[..., Worker]
) -> None:
    app, calculation_id = application(broker_url), uuid4()
    ring(app, "dft", [calculation_id])
    first = worker(broker_url, "hold")
    soon(lambda: first.was_woken_for(calculation_id))
    soon(lambda: depth(app, "dft") == 0)
    first.process.kill()
    first.process.wait(120)
    if broker_url.startswith("redis"):
        time.sleep(VISIBILITY_S)
    second = worker(broker_url)
    soon(lambda: second.was_woken_for(calculation_id))


def test_a_message_that_keeps_losing_its_consumers_ends_among_the_dead(rabbitmq_url: str) -> None:
    app, calculation_id = application(rabbitmq_url), uuid4()
    ring(app, "dft", [calculation_id])
    for _ in range(MOST_RETURNS + 1):
        soon(lambda: dead(app) == 0)
        with app.connection_for_read() as connection, connection.channel() as channel:
            take(channel, QUEUES["dft"])  # and the connection is gone
    soon(lambda: dead(app) == 1)
    soon(lambda: depth(app, "dft") == 0)
    with app.connection_for_read() as connection, connection.channel() as channel:
        message = take(channel, DEAD)
        assert message.decode()[0] == [str(calculation_id)]
        (death,) = message.headers["x-death"]
        assert (death["queue"], death["reason"]) == (QUEUES["dft"], "delivery_limit")


def exists(channel: Any, queue: str) -> bool:
    """Whether RabbitMQ has that queue."""
    try:
        channel.connection.channel().queue_declare(queue, passive=True)
    except channel.connection.client.channel_errors:
        return False
    return True


def test_a_worker_makes_our_queues_and_no_others(rabbitmq_url: str, worker: Callable[..., Worker]) -> None:
    app, calculation_id = application(rabbitmq_url), uuid4()
    one = worker(rabbitmq_url)
    with app.connection_for_read() as connection, connection.channel() as channel:
        soon(lambda: exists(channel, QUEUES["xtb"]))  # every worker makes all of them
        assert exists(channel, DEAD)
    ring(app, "dft", [calculation_id])
    soon(lambda: one.was_woken_for(calculation_id))
    with app.connection_for_read() as connection, connection.channel() as channel:
        assert not exists(channel, "celery_delayed_27")


def test_rabbitmq_killed_and_started_again_has_kept_every_message(
    rabbitmq: Node, rabbitmq_url: str, worker: Callable[..., Worker]
) -> None:
    app, before, after = application(rabbitmq_url), uuid4(), uuid4()
    one = worker(rabbitmq_url)
    ring(app, "dft", [before])
    soon(lambda: one.was_woken_for(before))
    ring(app, "xtb", [uuid4() for _ in range(20)])
    time.sleep(NEW_QUEUE_S)
    rabbitmq.kill()
    with pytest.raises(UnavailableError) as caught:
        ring(app, "dft", [after])
    assert without_secret(caught, rabbitmq_url)
    rabbitmq.start()
    soon(lambda: counted(app, "xtb") == 20)
    soon(lambda: counted(app, "dft") is not None)
    soon(lambda: rung(app, after))
    soon(lambda: one.was_woken_for(after))  # it has found the broker again by itself


def test_a_broker_that_hangs_counts_as_away(broker_url: str, request: pytest.FixtureRequest) -> None:
    app, port = application(broker_url), urlsplit(broker_url).port
    declare(app)
    (server,) = (process for process in psutil.process_iter() if port in listening(process))
    server.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(UnavailableError, match=rf"127\.0\.0\.1:{port}") as caught:
            ring(app, "dft", [uuid4()])
        assert time.monotonic() - began < 20 * ANSWER_S  # it does not wait for good
        assert without_secret(caught, broker_url)
    finally:
        server.send_signal(signal.SIGCONT)
    ring(app, "dft", [uuid4()])
    assert depth(app, "dft") >= 1  # those that were given up may have arrived too


def test_a_broker_that_is_absent_or_refuses_us_is_named_without_the_password(broker_url: str) -> None:
    split = urlsplit(broker_url)
    absent = broker_url.replace(f":{split.port}/", ":1/")
    refused = broker_url.replace(f"{split.username}:{quote(str(split.password), safe='')}@", "somebody:wrong-word@")
    refused = refused.replace(f":{split.password}@", ":wrong-word@")
    assert "wrong-word" in refused
    for url, port in ((absent, 1), (refused, split.port)):
        app = application(url)
        for call in (lambda app=app: depth(app, "xtb"), lambda app=app: ring(app, "dft", [uuid4()])):
            with pytest.raises(UnavailableError, match=rf"127\.0\.0\.1:{port}") as caught:
                call()
            assert without_secret(caught, url)


def test_a_queue_with_other_properties_is_named_with_the_cure(rabbitmq_url: str, worker: Callable[..., Worker]) -> None:
    app, name = application(rabbitmq_url), QUEUES["dft"]
    with app.connection_for_write() as connection, connection.channel() as channel:
        exchange = Exchange("other")  # type: ignore[no-untyped-call]  # kombu has no types here
        older = Queue(  # type: ignore[no-untyped-call]
            name, exchange, routing_key=name, queue_arguments={"x-queue-type": "quorum"}
        )
        older.bind(channel).declare()  # type: ignore[no-untyped-call]
    for call in (lambda: declare(app), lambda: ring(app, "dft", [uuid4()]), lambda: depth(app, "dft")):
        with pytest.raises(UnavailableError, match=f"delete_queue '{name}'") as caught:
            call()
        assert without_secret(caught, rabbitmq_url)
    one = worker(rabbitmq_url)
    assert one.process.wait(PATIENCE_S) != 0
    assert f"delete_queue '{name}'" in one.log.read_text()
    with app.connection_for_write() as connection, connection.channel() as channel:
        channel.queue_delete(name)
    ring(app, "dft", [uuid4()])
    soon(lambda: depth(app, "dft") == 1)


@pytest.mark.parametrize("url", ["sqs://key:secret@", "memory://", "localhost:6379"])
def test_a_broker_of_another_kind_is_refused_at_once(url: str) -> None:
    with pytest.raises(InputError, match="amqps://") as caught:
        application(url)
    assert "secret" not in str(caught.value)
