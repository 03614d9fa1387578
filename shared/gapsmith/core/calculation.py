"""The identity of a calculation: which structure, which charge and spin, which level of theory."""

import hashlib

import numpy as np

from gapsmith.core.errors import InputError
from gapsmith.core.levels import LevelOfTheory

COORDINATE_STEP_ANGSTROM = 1e-4
OFFSET_STEPS = 0.31415926  # keeps round numbers off the edges of the steps, where the last bit would decide


def content_hash(
    numbers: np.ndarray, coordinates: np.ndarray, charge: int, spin: int, level: LevelOfTheory, geometry_method: str
) -> str:
    """SHA-256 of what decides a calculation's result. Translation does not matter; rotation and order of atoms do.

    The order counts because results (charges, relaxed coordinates) come per atom, in the order of the structure asked for.
    Software versions are provenance, not identity.

    Args:
        numbers: (atoms,) atomic numbers.
        coordinates: (atoms, 3), angstrom; taken as equal within 1e-4.
        charge: total charge.
        spin: unpaired electrons.
        level: level of theory; its name and limits do not count.
        geometry_method: what the geometry is a minimum of, which decides what is left to relax.

    Raises:
        InputError: shapes do not fit, or a coordinate is not finite.
    """
    if len(numbers) == 0 or np.shape(coordinates) != (len(numbers), 3):
        raise InputError(
            f"{len(numbers)} atoms with coordinates of shape {np.shape(coordinates)}; (atoms, 3) is needed"
        )
    positions = np.asarray(coordinates, dtype=np.float64)
    if not np.isfinite(positions).all():
        raise InputError("a coordinate is not a finite number")
    centred = positions - positions.mean(axis=0, keepdims=True)
    steps = np.floor(centred / COORDINATE_STEP_ANGSTROM + OFFSET_STEPS).astype("<i8")
    digest = hashlib.sha256(f"{level.identity(geometry_method)} {charge} {spin} {len(numbers)} ".encode())
    digest.update(np.ascontiguousarray(numbers, dtype=np.uint8).tobytes())
    digest.update(np.ascontiguousarray(steps).tobytes())
    return digest.hexdigest()
