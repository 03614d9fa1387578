"""Files that a training reads and writes, and the split by time."""

import math
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapsmith.core.errors import DataError, UnavailableError
from gapsmith.store.labels import Label
from gapsmith.trainer import labels
from gapsmith.trainer.communicator import HorovodGroup, join
from gapsmith.trainer.job import Folder, Job, Progress, read
from gapsmith.trainer.labels import replayed
from gapsmith.trainer.service import model_of, storable


@pytest.mark.parametrize(
    ("count", "expected"), [(0, 0), (5, 0), (6, 3), (8, 3), (12, 3), (16, 4), (100, 25), (9999, 48)]
)
def test_newest_quarter_is_held_out(count: int, expected: int) -> None:
    assert labels.held_out(count) == expected


@given(count=st.integers(0, 10_000), more=st.integers(0, 1000))
def test_what_an_earlier_training_saw_is_never_held_out_later(count: int, more: int) -> None:
    trained_then = count - labels.held_out(count) if labels.held_out(count) else 0
    trained_now = count + more - labels.held_out(count + more)
    assert trained_now >= trained_then


def test_labels_round_trip(tmp_path: Path) -> None:
    water = Label(
        UUID(int=1),
        np.array([8, 1, 1], dtype=np.uint8),
        np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], dtype=np.float32),
        {"gap_ev": 8.5, "homo_ev": -7.0, "lumo_ev": 1.5},
    )
    neon = Label(UUID(int=2), np.array([10], dtype=np.uint8), np.zeros((1, 3), np.float32), {"gap_ev": 20.0})
    labels.write(tmp_path / "labels.safetensors", [water, neon])
    first, second = labels.read(tmp_path / "labels.safetensors")
    assert (first.calculation_id, second.calculation_id) == (UUID(int=1), UUID(int=2))
    np.testing.assert_array_equal(first.numbers, water.numbers)
    np.testing.assert_array_equal(first.coordinates, water.coordinates)
    assert first.targets == water.targets
    assert second.targets == {"gap_ev": 20.0}
    assert second.coordinates.shape == (1, 3)


def test_damaged_labels_are_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.safetensors"
    with pytest.raises(DataError, match=r"labels\.safetensors holds no labels"):
        labels.read(path)
    path.write_bytes(b"\0" * 30)
    with pytest.raises(DataError, match=r"labels\.safetensors holds no labels"):
        labels.read(path)


def test_documents_round_trip_and_damage(tmp_path: Path) -> None:
    progress = Progress(step=3, steps=10, elapsed_s=1.5, losses={"loss": math.nan})
    folder = Folder(tmp_path)
    progress.write(folder.progress)
    again = read(Progress, folder.progress)
    assert (again.step, again.steps) == (3, 10)
    assert math.isnan(again.losses["loss"])
    folder.progress.write_text(folder.progress.read_text()[:-5])
    with pytest.raises(DataError, match="is no progress of a training"):
        read(Progress, folder.progress)
    with pytest.raises(DataError, match="is no job of a training"):
        read(Job, folder.job)


def test_json_columns_hold_no_number_that_is_not_finite() -> None:
    assert storable({"a": (1.0, math.nan), "b": {"c": [math.inf, "x", None, True, 2]}}) == {
        "a": [1.0, None],
        "b": {"c": [None, "x", None, True, 2]},
    }


def test_every_attempt_of_a_task_trains_the_same_model() -> None:
    assert model_of(UUID(int=7)) == model_of(UUID(int=7)) != model_of(UUID(int=8))


def test_missing_horovod_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "horovod", None)
    monkeypatch.setitem(sys.modules, "horovod.torch", None)
    with pytest.raises(UnavailableError, match="make horovod"):
        HorovodGroup()


def test_process_that_nobody_grouped_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOROVOD_RANK", raising=False)
    group = join()
    assert (group.rank, group.size) == (0, 1)


@pytest.mark.slow
def test_service_needs_no_torch() -> None:
    code = "import sys, gapsmith.trainer.service; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_few_labels_are_not_repeated_without_end() -> None:
    assert replayed(0.75, labels=32, seen=150 * 32) == 0.75
    few = replayed(0.75, labels=9, seen=150 * 32)
    assert (1 - few) * 150 * 32 / 9 == pytest.approx(40)  # times that each is seen
    assert replayed(0.0, labels=3, seen=150 * 32) == 0.0
    assert replayed(0.9, labels=32, seen=150 * 32) == 0.9
