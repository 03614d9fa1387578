"""Metrics as files: JSON lines and TensorBoard's events, read back; trainings that were killed and resumed."""

import json
import math
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gapsmith.training.metrics import LINES, MetricsWriter, Point, read


def point(step: int, loss: float = 0.5) -> Point:
    return Point(step, step * 0.25, {"loss": loss, "gap": loss / 2}, 1e-3, 128.0, step * 1e-6)


def records(path: Path) -> Iterator[bytes]:
    """The records of an event file, with their checksums checked."""
    from tensorboardX.record_writer import masked_crc32c

    data = path.read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        assert struct.unpack("<I", data[8:12])[0] == masked_crc32c(data[:8])
        record, rest = data[12 : 12 + length], data[12 + length :]
        assert struct.unpack("<I", rest[:4])[0] == masked_crc32c(record)
        yield record
        data = rest[4:]


def events(directory: Path) -> dict[str, dict[int, float]]:
    """Values by tag and step, as TensorBoard shows them: a start of a session hides what was from its step on."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    found: dict[str, dict[int, float]] = {}
    for path in sorted(directory.glob("events.out.tfevents.*")):
        for record in records(path):
            event: Any = Event()
            event.ParseFromString(record)
            if event.HasField("session_log") and event.session_log.status == SessionLog.START:
                found = {tag: {s: v for s, v in line.items() if s < event.step} for tag, line in found.items()}
            for value in event.summary.value:
                line = found.setdefault(value.tag, {})
                assert event.step not in line
                line[event.step] = value.simple_value
    return found


def test_points_come_back_from_both_kinds_of_files(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    points = [point(5, 0.9), point(10, 0.7), point(15, 0.6)]
    with MetricsWriter(tmp_path) as writer:
        for one in points:
            writer.write(one)
            assert read(tmp_path)[-1] == one  # at once: a kill loses nothing
    assert read(tmp_path) == points
    found = events(tmp_path)
    assert set(found) == {"loss", "loss/gap", "training/rate", "training/samples_per_s", "training/energy_kwh"}
    assert found["loss"] == pytest.approx({5: 0.9, 10: 0.7, 15: 0.6})
    assert found["loss/gap"] == pytest.approx({5: 0.45, 10: 0.35, 15: 0.3})
    assert found["training/energy_kwh"] == pytest.approx({5: 5e-6, 10: 10e-6, 15: 15e-6})


def test_a_resumed_training_goes_on_without_doubles(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    killed = MetricsWriter(tmp_path)
    for step in range(5, 45, 5):
        killed.write(point(step, 1.0))
    with (tmp_path / LINES).open("a") as file:
        file.write('{"step": 45, "elaps')  # in the middle of a line
    with MetricsWriter(tmp_path) as resumed:  # from a state that was saved after step 22
        for step in range(25, 55, 5):
            resumed.write(point(step, 2.0))
    expected = {step: 1.0 if step < 25 else 2.0 for step in range(5, 55, 5)}
    assert {one.step: one.losses["loss"] for one in read(tmp_path)} == expected
    assert [one.step for one in read(tmp_path)] == list(expected)
    assert len((tmp_path / LINES).read_text().splitlines()) == len(expected)
    assert events(tmp_path)["loss"] == expected
    with MetricsWriter(tmp_path) as anew:
        anew.write(point(5, 3.0))
        anew.write(point(10, 3.0))
    assert [one.step for one in read(tmp_path)] == [5, 10]
    assert events(tmp_path)["loss"] == {5: 3.0, 10: 3.0}


def test_numbers_that_are_not_finite_are_null(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path) as writer:
        writer.write(Point(1, 0.1, {"loss": math.nan, "gap": 0.5}, math.inf))
    (line,) = (tmp_path / LINES).read_text().splitlines()
    assert json.loads(line, parse_constant=pytest.fail)["losses"] == {"loss": None, "gap": 0.5}
    assert list(Point(1, 0.1, {"loss": math.nan, "gap": 0.5}).finite().scalars()) == [("loss/gap", 0.5)]


def test_without_tensorboardx_there_are_lines(tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules["tensorboardX"] = None
from pathlib import Path
from gapsmith.training.metrics import MetricsWriter, Point
with MetricsWriter(Path({str(tmp_path)!r})) as writer:
    writer.write(Point(1, 0.5, {{"loss": 2.0}}))
assert writer.problem is None
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    assert [path.name for path in tmp_path.iterdir()] == [LINES]
    assert read(tmp_path) == [Point(1, 0.5, {"loss": 2.0})]


@pytest.mark.slow
def test_writing_events_does_not_load_torch(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    code = f"""
import sys
from pathlib import Path
from gapsmith.training.metrics import MetricsWriter, Point
with MetricsWriter(Path({str(tmp_path)!r})) as writer:
    writer.write(Point(1, 0.5, {{"loss": 2.0}}))
assert "tensorboardX" in sys.modules and "torch" not in sys.modules
import torch
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert events(tmp_path)["loss"] == {1: 2.0}


def test_what_cannot_be_written_does_not_end_a_training(tmp_path: Path) -> None:
    place = tmp_path / "metrics"
    place.write_text("a file, where the folder should be")
    with MetricsWriter(place) as writer:
        writer.write(point(1))
        assert writer.problem is not None
        assert str(place) in writer.problem
        place.unlink()
        writer.write(point(2))
        assert writer.problem is None
    assert read(place) == [point(2)]
