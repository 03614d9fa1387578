"""A model Hessian to start an optimiser from: springs on bonds and angles (after Lindh et al., CPL 241, 423 (1995))."""

import numpy as np

from gapsmith.core.chemistry.elements import bond_lengths_angstrom
from gapsmith.core.units import BOHR_TO_ANGSTROM

STRETCH, BEND, PAIR = 0.45, 0.16, 0.004  # hartree / bohr^2, hartree / rad^2, hartree / bohr^2
FLOOR = 0.02  # hartree / bohr^2, for what no spring holds: torsions


def model_hessian(numbers: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """(3n, 3n) positive definite Hessian in hartree / bohr^2.

    Args:
        numbers: (n,) atomic numbers.
        positions: (n, 3), bohr.
    """
    n = len(numbers)
    difference = positions[:, None] - positions[None]
    distance = np.sqrt((difference**2).sum(-1)) + np.eye(n)
    unit = difference / distance[..., None]
    lengths = bond_lengths_angstrom(numbers) / BOHR_TO_ANGSTROM
    closeness = np.exp(-3.0 * np.maximum(distance / lengths - 1.0, -0.2)) * (1 - np.eye(n))
    spring = STRETCH * closeness**2 + PAIR * closeness
    blocks = -spring[..., None, None] * unit[..., :, None] * unit[..., None, :]  # (n, n, 3, 3)
    blocks[np.arange(n), np.arange(n)] = -blocks.sum(1)
    hessian = blocks.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n)
    rows = []
    for centre in range(n):
        bonded = np.flatnonzero(closeness[centre] > 0.3)
        for index, first in enumerate(bonded):
            for second in bonded[index + 1 :]:
                u, v = -unit[centre, first], -unit[centre, second]  # from the centre outwards
                cosine = float(u @ v)
                sine = max(np.sqrt(1 - min(1.0, cosine**2)), 0.3)
                row = np.zeros((n, 3))
                row[first] = (cosine * u - v) / (distance[centre, first] * sine)
                row[second] = (cosine * v - u) / (distance[centre, second] * sine)
                row[centre] = -row[first] - row[second]
                rows.append(np.sqrt(BEND * closeness[centre, first] * closeness[centre, second]) * row.ravel())
    if rows:
        springs = np.array(rows)
        hessian = hessian + springs.T @ springs
    return np.asarray(hessian + FLOOR * np.eye(3 * n))
