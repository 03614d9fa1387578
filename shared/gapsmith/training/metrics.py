"""Metrics of a training by step, as files: JSON lines, and events for TensorBoard where tensorboardX is installed.

Written beside a training: what cannot be written is left out, and the training goes on. Needs no torch.
"""

import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Final, Self, TextIO, cast

from gapsmith.training.files import write_atomically

LINES: Final = "metrics.jsonl"


@dataclass(frozen=True)
class Point:
    """Where a training was after a step."""

    step: int
    elapsed_s: float
    losses: Mapping[str, float | None]  # running means by name; None: not finite
    rate: float | None = None  # learning rate
    samples_per_s: float | None = None  # of all processes together
    energy_kwh: float | None = None  # so far

    def finite(self) -> "Point":
        """The same with None for what is not finite, as JSON wants it."""
        losses = {name: _finite(value) for name, value in self.losses.items()}
        rest = (_finite(value) for value in (self.rate, self.samples_per_s, self.energy_kwh))
        return Point(self.step, self.elapsed_s, losses, *rest)

    def scalars(self) -> Iterator[tuple[str, float]]:
        """Tags and values, as TensorBoard shows them."""
        for name, value in self.losses.items():
            if value is not None:
                yield f"loss/{name}" if name != "loss" else "loss", value
        for name in ("rate", "samples_per_s", "energy_kwh"):
            if (number := getattr(self, name)) is not None:
                yield f"training/{name}", number


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def read(directory: Path) -> list[Point]:
    """Points of ``metrics.jsonl`` in order; a last line that was cut off by a kill is left out."""
    try:
        lines = (directory / LINES).read_text().splitlines()
    except OSError:
        return []
    points = []
    for line in lines:
        try:
            points.append(Point(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return points


class MetricsWriter:
    """Writes the points of one training to a directory.

    A resumed training goes on in the same directory: the steps that it does again take the place of what was written of them.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._last = -1
        self._lines: TextIO | None = None
        self._events: _Events | None = None
        self.problem: str | None = None  # why the last point was not written

    def write(self, point: Point) -> None:
        """Add a point; steps at and after its own that were written before are forgotten."""
        point = point.finite()
        try:
            if self._lines is None or point.step <= self._last:
                self._lines = self._begin(point.step)
            self._lines.write(json.dumps(asdict(point)) + "\n")
            self._lines.flush()
            if self._events is not None:
                self._events.write(point)
            self._last, self.problem = point.step, None
        except OSError as error:
            self.close()
            self.problem = f"metrics cannot be written to {self._directory}: {error}"

    def close(self) -> None:
        """Close the files."""
        files, self._lines, self._events = (self._lines, self._events), None, None
        for file in files:
            if file is not None:
                with suppress(OSError):  # what was not flushed goes with a full disk
                    file.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _begin(self, step: int) -> TextIO:
        """The files, opened to go on at a step."""
        self.close()
        kept = [json.dumps(asdict(point)) + "\n" for point in read(self._directory) if point.step < step]
        write_atomically(self._directory / LINES, "".join(kept).encode())
        resumed = any(self._directory.glob("events.out.tfevents.*"))
        self._events = _Events(self._directory, step if resumed else None) if find_spec("tensorboardX") else None
        return (self._directory / LINES).open("a")


class _Events:
    """One event file of TensorBoard. Written at once, without the thread and the queue of tensorboardX's own writer."""

    def __init__(self, directory: Path, purged_from: int | None) -> None:
        """``purged_from``: TensorBoard forgets this step and those after it that earlier files have."""
        with _without_torch():
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto import event_pb2, summary_pb2
        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._writer = EventsWriter(str(directory / "events"), f".{os.getpid()}.{time.time_ns()}")
        if purged_from is not None:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._writer.write_event(self._event(wall_time=time.time(), step=purged_from, session_log=start))
        self._writer.flush()

    def write(self, point: Point) -> None:
        values = [self._summary.Value(tag=tag, simple_value=value) for tag, value in point.scalars()]
        summary = self._summary(value=values)
        self._writer.write_event(self._event(wall_time=time.time(), step=point.step, summary=summary))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


@contextmanager
def _without_torch() -> Iterator[None]:
    """Keeps tensorboardX from loading torch, for tensors that it is not given: services have no memory for that."""
    if "torch" in sys.modules:
        yield
        return
    modules = cast(dict[str, ModuleType | None], sys.modules)
    modules["torch"] = None
    try:
        yield
    finally:
        del modules["torch"]
