"""Electronic structures of many molecules: each one's numbers at its place, and a failure leaves only itself out."""

import numpy as np
import pytest

from gapsmith.core.electronic import electronic_structure
from gapsmith.data.electronic_records import ElectronicRecords

WATER = np.array([8, 1, 1]), np.array([[0, 0, 0], [0, 0.76, 0.59], [0, -0.76, 0.59]])
METHANE = np.array([6, 1, 1, 1, 1]), np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.63
UNKNOWN = np.array([95]), np.zeros((1, 3))  # GFN2-xTB has no parameters for it


def test_molecules_one_after_the_other() -> None:
    molecules = [WATER, UNKNOWN, METHANE]
    offsets = np.cumsum([0] + [len(numbers) for numbers, _ in molecules])
    numbers, coordinates = (np.concatenate(parts) for parts in zip(*molecules, strict=True))
    found = ElectronicRecords.of(offsets, numbers, coordinates)
    assert len(found) == 3
    methane = electronic_structure(*METHANE)
    assert found.orbital_energies_ev[2] == pytest.approx(methane.orbital_energies_ev, abs=1e-4)
    assert found.charges_e[4:] == pytest.approx(methane.charges_e, abs=1e-5)
    assert found.homo_populations[:3].sum() == pytest.approx(1, abs=1e-5)
    assert np.isnan(found.orbital_energies_ev[1]).all()
    assert np.isnan(found.charges_e[3])
    assert found.pair_counts.tolist() == [2, 0, 4]
    assert found.pairs[:2].tolist() == [[0, 1], [0, 2]]
    assert found.bond_orders == pytest.approx(np.full(6, 0.95), abs=0.08)
    both = ElectronicRecords.joined([found, found])
    assert len(both) == 6
    assert both.pairs[6:].tolist() == found.pairs.tolist()
