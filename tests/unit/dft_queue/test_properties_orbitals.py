"""Cube files: their form, the orbitals in them, their size, and that a full disk leaves none."""

import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyscf.tools import molden
from pyscf.tools.cubegen import Cube
from wave_functions import LEVEL, converged

from gapsmith.core.units import BOHR_TO_ANGSTROM
from gapsmith.dft_queue.jobs import CalculationInput
from gapsmith.dft_queue.properties.orbitals import MOST_POINTS, _grid, write_cubes, write_molden
from gapsmith.dft_queue.scf import molecule

NUMBERS = [6, 8, 1, 1]  # formaldehyde
POSITIONS = [[0.0, 0.0, 0.0], [0.0, 0.0, 1.205], [0.0, 0.94, -0.59], [0.0, -0.94, -0.59]]
pytestmark = pytest.mark.slow

FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from gapsmith.core.levels import shipped
from gapsmith.dft_queue.jobs import CalculationInput
from gapsmith.dft_queue.properties.orbitals import write_cubes
from gapsmith.dft_queue.scf import converge, molecule
level = shipped()["single-point"]
job = CalculationInput.of(np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 0.74]]), level)
field = converge(molecule(job, job.positions, memory_mb=1000), level).mean_field
folder = Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    write_cubes(field, folder)
except OSError as error:
    print(error.errno, sorted(path.name for path in folder.iterdir()))
else:
    print("written", sorted(path.name for path in folder.iterdir()))
"""


@pytest.fixture(scope="module")
def formaldehyde() -> Any:
    return converged(NUMBERS, POSITIONS)


def read(path: Path) -> tuple[str, list[list[float]], np.ndarray, np.ndarray, np.ndarray]:
    """Title, rows of atoms, origin, steps (3, 3) and values (x, y, z) of a cube file."""
    lines = path.read_text().splitlines()
    count, *origin = lines[2].split()
    axes = [line.split() for line in lines[3:6]]
    atoms = [[float(word) for word in line.split()] for line in lines[6 : 6 + int(count)]]
    values = np.array([float(word) for line in lines[6 + int(count) :] for word in line.split()])
    steps = np.array([[float(word) for word in axis[1:]] for axis in axes])
    return lines[0], atoms, np.array(origin, dtype=float), steps, values.reshape([int(axis[0]) for axis in axes])


def test_a_cube_file_holds_the_orbital(formaldehyde: Any, tmp_path: Path) -> None:
    written = write_cubes(formaldehyde, tmp_path)
    assert written == {"homo": tmp_path / "homo.cube", "lumo": tmp_path / "lumo.cube"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["homo.cube", "lumo.cube"]
    occupied = int((formaldehyde.mo_occ > 0).sum())
    for path, place in zip(written.values(), (occupied - 1, occupied), strict=True):
        title, atoms, origin, steps, values = read(path)
        assert title == f"{path.stem.upper()}, {formaldehyde.mo_energy[place] * 27.211386245988:.4f} eV"
        np.testing.assert_allclose([row[0] for row in atoms], NUMBERS)
        np.testing.assert_allclose(np.array(atoms)[:, 2:] * BOHR_TO_ANGSTROM, POSITIONS, atol=1e-5)
        np.testing.assert_allclose(steps, np.eye(3) * 0.25 / BOHR_TO_ANGSTROM, atol=1e-5)
        assert (values**2).sum() * np.linalg.det(steps) == pytest.approx(1, abs=0.02)
        corner = origin + steps.sum(axis=0) * 7
        amplitude = (formaldehyde.mol.eval_gto("GTOval", corner[None]) @ formaldehyde.mo_coeff[:, place]).item()
        assert abs(values[7, 7, 7]) == pytest.approx(abs(amplitude), abs=2e-5)
        assert values.max() == np.abs(values).max()


def test_pyscf_reads_it(formaldehyde: Any, tmp_path: Path) -> None:
    path = write_cubes(formaldehyde, tmp_path, spacing_angstrom=0.5)["homo"]
    np.testing.assert_array_equal(Cube(formaldehyde.mol).read(str(path)), read(path)[4])


def test_the_highest_and_lowest_are_taken_over_both_spins(tmp_path: Path) -> None:
    radical = converged([8, 1], [[0, 0, 0], [0, 0, 0.975]], spin=1)
    written = write_cubes(radical, tmp_path, spacing_angstrom=0.5)
    energies, filled = np.asarray(radical.mo_energy) * 27.211386245988, np.asarray(radical.mo_occ) > 0
    spins = {"homo": int(energies[0][filled[0]].max() < energies[1][filled[1]].max())}
    spins["lumo"] = int(energies[0][~filled[0]].min() > energies[1][~filled[1]].min())
    for name, path in written.items():
        assert f"{('alpha', 'beta')[spins[name]]} spin" in read(path)[0]
    assert spins["lumo"] == 1  # the hole


@settings(max_examples=30, deadline=None)
@given(length=st.floats(0.5, 200), spacing=st.floats(0.05, 2.0), margin=st.floats(0.5, 6.0), axis=st.integers(0, 2))
def test_the_grid_is_bounded_and_covers_the_margin(length: float, spacing: float, margin: float, axis: int) -> None:
    end = np.zeros(3)
    end[axis] = length
    job = CalculationInput.of(np.array([1, 1]), np.array([np.zeros(3), end]), LEVEL)
    mol = molecule(job, job.positions, memory_mb=500)
    cube = _grid(mol, spacing / BOHR_TO_ANGSTROM, margin / BOHR_TO_ANGSTROM)
    points = cube.get_coords()
    assert max(cube.nx, cube.ny, cube.nz) <= MOST_POINTS
    assert (points.min(axis=0) <= mol.atom_coords().min(axis=0) - margin / BOHR_TO_ANGSTROM + 1e-6).all()
    assert (points.max(axis=0) >= mol.atom_coords().max(axis=0) + margin / BOHR_TO_ANGSTROM - 1e-6).all()
    steps = cube.box.diagonal() / (np.array([cube.nx, cube.ny, cube.nz]) - 1)
    np.testing.assert_allclose(steps, steps[0])
    assert steps[0] >= spacing / BOHR_TO_ANGSTROM - 1e-9


@pytest.mark.parametrize("most_bytes", [0, 4000, 90_000])
def test_a_full_disk_leaves_nothing(most_bytes: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), str(most_bytes)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "27 []"  # EFBIG


def test_the_same_program_writes_where_there_is_room(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), str(10**8)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "written ['homo.cube', 'lumo.cube']"


def test_a_failed_rewrite_leaves_what_was_there(formaldehyde: Any, tmp_path: Path) -> None:
    before = write_cubes(formaldehyde, tmp_path, spacing_angstrom=0.8)["homo"].read_text()
    ignored, limit = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
        with pytest.raises(OSError, match="File too large"):
            write_cubes(formaldehyde, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (tmp_path / "homo.cube").read_text() == before
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("numbers", "positions", "spin"), [(NUMBERS, POSITIONS, 0), ([8, 1], [[0, 0, 0], [0, 0, 0.975]], 1)]
)
def test_a_molden_file_has_all_orbitals(numbers: list[int], positions: Any, spin: int, tmp_path: Path) -> None:
    field = converged(numbers, positions, spin=spin)
    mol, energies, coefficients, occupations, *_ = molden.load(str(write_molden(field, tmp_path)))
    for found in coefficients if spin else [coefficients]:
        overlap = found.T @ mol.intor("int1e_ovlp") @ found
        np.testing.assert_allclose(overlap, np.eye(len(overlap)), atol=1e-5)
    np.testing.assert_allclose(np.ravel(energies), np.ravel(field.mo_energy), atol=1e-5)
    assert np.sum(occupations) == np.sum(field.mo_occ)
