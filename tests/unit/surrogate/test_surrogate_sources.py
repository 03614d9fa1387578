"""The GFN2-xTB sources: right numbers, nothing computed twice, and what is missing is named."""

from pathlib import Path

import numpy as np
import pytest

from gapsmith.core.errors import CalculationError, DataError
from gapsmith.core.xtb import single_point
from gapsmith.data import sources as registry
from gapsmith.surrogate import data, displaced, relaxed, sources
from gapsmith.surrogate.config import FOLDER, load

WATER = np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
ODD = np.array([8, 1]), np.array([[0.0, 0.0, 0.0], [0.97, 0.0, 0.0]])  # a radical: refused


@pytest.fixture
def split(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A split of five molecules in chunks of two, and an empty cache."""
    monkeypatch.setenv("GAPSMITH_CACHE", str(tmp_path))
    monkeypatch.setattr(relaxed, "CHUNK", 2)
    some = data.from_geometries([WATER, ODD, WATER, WATER, WATER], [{"gap_ev": float(i)} for i in range(5)])
    monkeypatch.setattr(registry.find("qm9"), "load", lambda name: some)


def test_forces_are_minus_the_gradient_of_the_energy() -> None:
    numbers, coordinates = WATER
    energy, forces, gap = single_point(numbers, coordinates)
    assert energy == pytest.approx(-137.9, abs=0.5)  # -5.07 hartree
    assert 10 < gap < 18
    for atom, axis in [(0, 0), (1, 1), (2, 0)]:
        moved = [coordinates.copy(), coordinates.copy()]
        moved[0][atom, axis] += 1e-3
        moved[1][atom, axis] -= 1e-3
        slope = (single_point(numbers, moved[0])[0] - single_point(numbers, moved[1])[0]) / 2e-3
        assert forces[atom, axis] == pytest.approx(-slope, abs=2e-3)
    with pytest.raises(CalculationError, match="not finite"):
        single_point(numbers, np.full((3, 3), np.nan))


@pytest.mark.usefixtures("split")
def test_chunks_are_relaxed_and_displaced_once() -> None:
    assert sources.load("qm9_gfn2", "train") is None
    assert sources.load("gfn2", "train") is None
    for first in (0, 2, 4):
        relaxed.prepare_chunk("train", first)
        displaced.prepare_chunk("train", first)
    cheap, frames = sources.load("qm9_gfn2", "train"), sources.load("gfn2", "train")
    assert cheap is not None
    assert frames is not None
    assert cheap.target("gap").tolist() == [0, 2, 3, 4]  # the radical is left out
    assert len(frames) == 4 * displaced.FRAMES
    assert set(frames.labelled()) == {"gfn2_energy", "gfn2_gap", "gfn2_forces"}
    forces = frames.node["gfn2_forces"]
    energies = frames.target("gfn2_energy").reshape(4, displaced.FRAMES)
    assert (energies[:, 0] < energies[:, 1:].min(1)).all()  # relaxed is lowest
    largest = [np.abs(forces[frames.offsets[i] : frames.offsets[i + 1]]).max() for i in range(len(frames))]
    assert max(largest[:: displaced.FRAMES]) < 0.05 < min(largest[1 :: displaced.FRAMES])
    written = {file: file.stat().st_mtime_ns for file in displaced.folder("train").glob("*")}
    displaced.prepare_chunk("train", 0)
    relaxed.prepare_chunk("train", 0)
    assert {file: file.stat().st_mtime_ns for file in displaced.folder("train").glob("*")} == written


@pytest.mark.usefixtures("split")
def test_heads_see_only_their_own_sources() -> None:
    config = load(FOLDER / "gpu.yaml")
    with pytest.raises(DataError, match=r"source qm9_gfn2 has no molecules of the split train.*gapsmith data xtb"):
        sources.of(config, "train")
    relaxed.prepare_chunk("train", 0)
    displaced.prepare_chunk("train", 0)
    shares = sources.of(config, "train", most=2)
    assert shares["qm9"].molecules.labelled() == ("gap",)
    assert len(shares["qm9"].molecules) == 2
    assert set(shares["gfn2"].molecules.labelled()) == {"gfn2_energy", "gfn2_gap", "gfn2_forces"}


def test_a_folder_of_labels_that_is_elsewhere_is_left_out_where_it_may_be(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        sources.load(f"label_set:{tmp_path / 'gone'}", "validation")
    assert sources.load_if_there(f"label_set:{tmp_path / 'gone'}", "validation", seen=True) is None
