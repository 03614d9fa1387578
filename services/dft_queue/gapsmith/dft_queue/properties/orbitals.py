"""Frontier orbitals as Gaussian cube files, which 3Dmol.js, Avogadro, VMD and others show.

The format: https://h5cube-spec.readthedocs.io/en/latest/cubeformat.html. Values are written with five decimals and zeros as
"0": isovalues in use are hundreds of times larger, and the file is half as long as PySCF's.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from pyscf.tools import molden
from pyscf.tools.cubegen import Cube

from gapsmith.core.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV
from gapsmith.dft_queue.properties.response import by_spin

MOST_POINTS: Final = 80  # on an axis; a larger molecule has coarser ones
POINTS: Final = 4096  # evaluated at a time
A_LINE: Final = 6  # values, by custom


def write_cubes(
    field: Any, folder: Path, spacing_angstrom: float = 0.25, margin_angstrom: float = 3.0
) -> dict[str, Path]:
    """Write ``homo.cube`` and ``lumo.cube``, amplitudes in bohr^-3/2; over both spins if the field is unrestricted.

    Both files are there at the end, or neither and no part of one.

    Args:
        field: converged Kohn-Sham field.
        folder: where to; it must exist.
        spacing_angstrom: of the grid, made coarser where an axis would have more than 80 points.
        margin_angstrom: of the grid around the atoms.

    Returns:
        Paths by name, homo and lumo.

    Raises:
        OSError: a file cannot be written.
    """
    cube = _grid(field.mol, spacing_angstrom / BOHR_TO_ANGSTROM, margin_angstrom / BOHR_TO_ANGSTROM)
    values = _values(cube, np.stack([orbital for _, _, orbital in _frontier(field)], axis=1))
    waiting: dict[Path, Path] = {}
    done: list[Path] = []
    try:
        for (name, title, _), amplitudes in zip(_frontier(field), values, strict=True):
            target = folder / f"{name}.cube"
            temporary = folder / f".{name}.cube.{os.getpid()}"
            waiting[temporary] = target
            with temporary.open("w", encoding="ascii") as file:
                file.writelines(_lines(cube, title, amplitudes))
                file.flush()
                os.fsync(file.fileno())
        for temporary, target in waiting.items():
            temporary.replace(target)
            done.append(target)
    except BaseException:
        for path in (*waiting, *done):
            with contextlib.suppress(OSError):
                path.unlink()
        raise
    return {path.stem: path for path in done}


def write_molden(field: Any, folder: Path) -> Path:
    """Write all orbitals of a converged field as ``orbitals.molden``; raises OSError."""
    path = folder / "orbitals.molden"
    molden.from_scf(field, str(path))
    return path


def _frontier(field: Any) -> list[tuple[str, str, np.ndarray]]:
    """(name, title, coefficients (functions,)) of the highest occupied and the lowest empty orbital."""
    levels = [
        (float(energy), filled > 0, spin, coefficients[:, place])
        for spin, (coefficients, energies, occupations) in zip(("alpha", "beta"), by_spin(field), strict=False)
        for place, (energy, filled) in enumerate(zip(energies, occupations, strict=True))
    ]
    spins = len(by_spin(field))
    highest = max((level for level in levels if level[1]), key=lambda level: level[0])
    lowest = min((level for level in levels if not level[1]), key=lambda level: level[0])
    return [
        (name, f"{name.upper()}{f', {spin} spin' if spins == 2 else ''}, {energy * HARTREE_TO_EV:.4f} eV", orbital)
        for name, (energy, _, spin, orbital) in (("homo", highest), ("lumo", lowest))
    ]


def _grid(mol: Any, spacing: float, margin: float) -> Any:
    """PySCF's grid of equal steps, all lengths in bohr."""
    atoms = mol.atom_coords()
    extent = np.ptp(atoms, axis=0) + 2 * margin
    step = max(spacing, extent.max() / (MOST_POINTS - 1))
    steps = np.ceil(extent / step - 1e-9).astype(int)
    origin = (atoms.max(axis=0) + atoms.min(axis=0) - steps * step) / 2
    return Cube(mol, *(int(count) + 1 for count in steps), origin=origin, extent=steps * step)


def _values(cube: Any, orbitals: np.ndarray) -> np.ndarray:
    """Orbitals (functions, n) on the grid, (n, x, y, z); the sign is such that the largest amplitude is positive."""
    points = cube.get_coords()
    found = np.empty((orbitals.shape[1], len(points)))
    for start in range(0, len(points), POINTS):
        chunk = slice(start, start + POINTS)
        found[:, chunk] = (cube.mol.eval_gto("GTOval", points[chunk]) @ orbitals).T
    largest = np.take_along_axis(found, np.abs(found).argmax(axis=1)[:, None], axis=1)
    return np.asarray((found * np.sign(largest)).reshape(-1, cube.nx, cube.ny, cube.nz))


def _lines(cube: Any, title: str, amplitudes: np.ndarray) -> Iterator[str]:
    """The file: two comments, origin, axes, atoms, and the values with z running fastest."""
    mol = cube.mol
    yield f"{title}\ngapsmith; amplitude in bohr^-3/2, lengths in bohr\n"
    yield _row(mol.natm, cube.boxorig)
    for axis, points in enumerate(amplitudes.shape):
        yield _row(points, cube.box[axis] / (points - 1))
    for charge, position in zip(mol.atom_charges(), mol.atom_coords(), strict=True):
        yield _row(int(charge), (float(charge), *position))
    for row in amplitudes.reshape(-1, amplitudes.shape[2]):
        words = ["0" if abs(value) < 5e-6 else f"{value:.5f}" for value in row.tolist()]
        for start in range(0, len(words), A_LINE):
            yield " ".join(words[start : start + A_LINE]) + "\n"


def _row(number: int, numbers: Any) -> str:
    return f"{number:5d}" + "".join(f"{value:12.6f}" for value in numbers) + "\n"
