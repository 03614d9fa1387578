"""The SCF ladder: every rung converges to the same state, and the end of the ladder says what was tried."""

from itertools import pairwise

import numpy as np
import pytest

from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.core.levels import shipped
from gapsmith.dft_queue.integration import in_single_precision
from gapsmith.dft_queue.jobs import CalculationInput
from gapsmith.dft_queue.scf import LADDER, Rung, converge, mean_field, molecule

pytestmark = pytest.mark.slow

LEVEL = shipped()["single-point"]
GEOMETRY = np.array([[0.0, 0.0, 0.1177], [0.0, 0.7555, -0.4712], [0.0, -0.7555, -0.4712]])
WATER = CalculationInput.of(np.array([8, 1, 1]), GEOMETRY, LEVEL)
TOO_SHORT = Rung("too-short", cycles=2, guess="minao")


def test_rungs_have_names_of_their_own_and_change_the_algorithm() -> None:
    assert len({rung.name for rung in LADDER}) == len(LADDER)
    settings = [(r.guess, r.damping, r.level_shift_hartree, r.second_order) for r in LADDER]
    assert all(before != after for before, after in pairwise(settings))


@pytest.mark.parametrize("rung", LADDER, ids=lambda rung: rung.name)
def test_every_rung_finds_the_same_state_after_one_that_failed(rung: Rung) -> None:
    mol = molecule(WATER, WATER.positions, memory_mb=1000)
    found = converge(mol, LEVEL, ladder=(TOO_SHORT, rung))
    assert found.rung == rung.name
    reference = converge(mol, LEVEL)
    assert reference.rung == "diis"
    assert found.mean_field.e_tot == pytest.approx(reference.mean_field.e_tot, abs=3e-6)
    empty = reference.mean_field.mo_occ == 0  # a level shift must not be left in the empty orbitals
    lumo, wanted = found.mean_field.mo_energy[empty].min(), reference.mean_field.mo_energy[empty].min()
    assert lumo == pytest.approx(wanted, abs=2e-4)


def test_a_nasty_case_climbs_the_ladder() -> None:
    """Carbon monoxide pulled apart: its frontier orbitals swap places from cycle to cycle."""
    oxide = CalculationInput.of(np.array([6, 8]), np.array([[0, 0, 0], [0, 0, 3.0]]), LEVEL)
    stretched = molecule(oxide, oxide.positions, memory_mb=1000)
    found = converge(stretched, LEVEL)
    assert found.rung in {rung.name for rung in LADDER[1:]}
    assert found.mean_field.converged


def test_the_end_of_the_ladder_is_a_matter_of_chemistry() -> None:
    mol = molecule(WATER, WATER.positions, memory_mb=1000)
    with pytest.raises(CalculationError, match="too-short, damped") as caught:
        converge(mol, LEVEL, ladder=(TOO_SHORT, Rung("damped", cycles=1, damping=0.9)))
    assert caught.value.failure_class == FailureClass.CHEMISTRY


def test_tight_thresholds_are_reached_on_the_first_rung() -> None:
    tight = LEVEL.model_copy(update={"convergence_hartree": 1e-10, "gradient_convergence": 1e-6})
    assert converge(molecule(WATER, WATER.positions, memory_mb=1000), tight).rung == "diis"


def test_nothing_in_single_precision_is_subnormal() -> None:
    """Processors multiply subnormal numbers ten to twenty times more slowly, and far from the atoms there are many."""
    field = mean_field(molecule(WATER, WATER.positions, memory_mb=1000), LEVEL)
    field.grids.build()
    least = np.finfo(np.float32).tiny
    far = 0
    for _, values, _ in field._numint._values(field.mol, field.grids):
        assert not ((values != 0) & (np.abs(values) < least)).any()
        far += int((values == 0).sum())
    assert far > 0
    kept = in_single_precision(np.array([[1e-3, -2.0, 1e-40, -1e-30]]))
    assert kept.tolist() == [[np.float32(1e-3), -2.0, 0.0, 0.0]]
