"""The level of theory against QM9's own numbers, at QM9's geometries."""

from pathlib import Path

import numpy as np
import pytest
from pyscf import dft

from gapsmith.core.levels import shipped
from gapsmith.core.units import HARTREE_TO_EV
from gapsmith.dft_queue.basis import basis, sixth_d_function
from gapsmith.dft_queue.compute import compute
from gapsmith.dft_queue.integration import CachedNumInt
from gapsmith.dft_queue.jobs import CalculationInput
from gapsmith.dft_queue.scf import converge, frontier_ev, mean_field, molecule, orthonormalised

pytestmark = pytest.mark.slow

LEVEL = shipped()["single-point"]
METHANE = CalculationInput(
    level=LEVEL,
    numbers=(6, 1, 1, 1, 1),
    coordinates_angstrom=(
        (-0.0126981359, 1.0858041578, 0.0080009958),
        (0.002150416, -0.0060313176, 0.0019761204),
        (1.0117308433, 1.4637511618, 0.0002765748),
        (-0.540815069, 1.4475266138, -0.8766437152),
        (-0.5238136345, 1.4379326443, 0.9063972942),
    ),
)
WATER = CalculationInput(
    level=LEVEL,
    numbers=(8, 1, 1),
    coordinates_angstrom=(
        (-0.0343604951, 0.9775395708, 0.0076015923),
        (0.0647664923, 0.0205721989, 0.0015346341),
        (0.8717903737, 1.3007924048, 0.0006931336),
    ),
)
# QM9 entries 1 and 3: HOMO and LUMO (hartree, rounded to 1e-4), U0 - ZPVE (hartree), dipole (debye), oxygen's charge
QM9 = [
    (METHANE, -0.3877, 0.1171, -40.47893 - 0.044749, 0.0, None),
    (WATER, -0.2928, 0.0687, -76.404702 - 0.021375, 1.8511, -0.589706),
]


@pytest.mark.parametrize(("job", "homo", "lumo", "energy", "dipole", "charge"), QM9, ids=["methane", "water"])
def test_reproduces_qm9(
    job: CalculationInput,
    homo: float,
    lumo: float,
    energy: float,
    dipole: float,
    charge: float | None,
    tmp_path: Path,
) -> None:
    output = compute(job, tmp_path)
    assert output.homo_ev is not None
    assert output.lumo_ev is not None
    assert output.mulliken_e is not None
    assert output.homo_ev == pytest.approx(homo * HARTREE_TO_EV, abs=0.003)
    assert output.lumo_ev == pytest.approx(lumo * HARTREE_TO_EV, abs=0.003)
    assert output.gap_ev == pytest.approx(output.lumo_ev - output.homo_ev)
    assert output.energy_hartree == pytest.approx(energy, abs=1e-4)
    assert output.dipole_debye == pytest.approx(dipole, abs=0.005)
    assert sum(output.mulliken_e) == pytest.approx(0.0, abs=1e-6)
    if charge is not None:
        assert output.mulliken_e[0] == pytest.approx(charge, abs=0.003)
    assert output.rung == "diis"
    assert output.coordinates_angstrom is None
    assert {"pyscf", "numpy", "python"} <= set(output.software)


def test_the_sixth_d_function_is_r_squared_times_a_gaussian() -> None:
    exponent = 0.4
    from pyscf import gto

    made = gto.M(atom="He 0 0 0", basis={"He": [sixth_d_function((exponent, 1.0))]}, unit="Bohr")
    radii = np.linspace(0.0, 4.0, 50)
    points = np.stack([radii, 0 * radii, 0 * radii], axis=1)
    found = made.eval_gto("GTOval_sph", points)[:, 0]
    wanted = radii**2 * np.exp(-exponent * radii**2)
    cosine = found @ wanted / np.linalg.norm(found) / np.linalg.norm(wanted)
    assert cosine > 0.99999


def test_the_basis_has_six_d_and_seven_f_functions() -> None:
    carbon = CalculationInput.of(np.array([6]), np.zeros((1, 3)), LEVEL)
    mol = molecule(carbon, carbon.positions, memory_mb=500)
    assert mol.nao == 3 + 2 * 3 + 2 * 6 + 7
    assert set(basis()) == {"H", "C", "N", "O", "F"}


def test_single_precision_values_do_not_move_the_gap() -> None:
    positions = np.array(WATER.coordinates_angstrom)
    gaps, energies = [], []
    for integrator in (CachedNumInt(), dft.numint.NumInt()):
        field = mean_field(molecule(WATER, positions, memory_mb=2000), LEVEL)
        field.conv_tol, field.conv_tol_grad = 1e-8, 1e-5
        field._numint = integrator
        field.kernel()
        homo, lumo = frontier_ev(field, HARTREE_TO_EV)
        gaps.append(lumo - homo)
        energies.append(field.e_tot)
    assert gaps[0] == pytest.approx(gaps[1], abs=1e-4)
    assert energies[0] == pytest.approx(energies[1], abs=1e-5)


def test_a_new_geometry_is_not_integrated_with_the_old_values() -> None:
    hydrogen = CalculationInput.of(np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 0.74]]), LEVEL)
    stretched = np.array([[0, 0, 0], [0, 0, 1.2]])
    first = converge(molecule(hydrogen, hydrogen.positions, memory_mb=500), LEVEL).mean_field
    before = first.e_tot
    first.reset(molecule(hydrogen, stretched, memory_mb=500))
    fresh = converge(molecule(hydrogen, stretched, memory_mb=500), LEVEL).mean_field
    assert first.kernel() == pytest.approx(fresh.e_tot, abs=1e-6)
    assert first.e_tot > before + 0.05


def test_unpaired_electrons_use_both_spins(tmp_path: Path) -> None:
    positions = np.array([[0, 0, 0], [1.08, 0, 0], [-0.54, 0.935, 0], [-0.54, -0.935, 0]])
    methyl = CalculationInput.of(np.array([6, 1, 1, 1]), positions, LEVEL, spin=1)
    output = compute(methyl, tmp_path)
    assert output.energy_hartree == pytest.approx(-39.84, abs=0.02)
    assert output.gap_ev is not None
    assert 0 < output.gap_ev < 8


def test_a_carried_density_keeps_its_electrons() -> None:
    near = np.array(WATER.coordinates_angstrom)
    field = converge(molecule(WATER, near, memory_mb=500), LEVEL).mean_field
    moved = near + np.array([[0, 0, 0], [0, -0.05, 0], [0.03, 0, 0]])
    mol = molecule(WATER, moved, memory_mb=500)
    density = orthonormalised(field, mol)
    assert np.einsum("ij,ji", density, mol.intor("int1e_ovlp")) == pytest.approx(10.0, abs=1e-9)


def test_relaxation_of_bent_water_arrives_at_qm9s_geometry(tmp_path: Path) -> None:
    start = np.array([[0, 0, 0], [0.93, 0.0, 0.1], [-0.1, 0.0, 1.02]])
    level = LEVEL.model_copy(update={"relaxation": ("gfn2-xtb", "self")})
    output = compute(CalculationInput.of(np.array([8, 1, 1]), start, level), tmp_path)
    assert output.coordinates_angstrom is not None
    oxygen, first, second = np.array(output.coordinates_angstrom)
    known = np.linalg.norm(np.array(WATER.coordinates_angstrom[1]) - WATER.coordinates_angstrom[0])
    assert np.linalg.norm(first - oxygen) == pytest.approx(known, abs=0.003)
    assert np.linalg.norm(second - oxygen) == pytest.approx(known, abs=0.003)
    assert output.gap_ev == pytest.approx((0.0687 + 0.2928) * HARTREE_TO_EV, abs=0.01)
    assert output.relaxation_steps >= 2
    assert output.rearranged is None


def test_a_triage_relaxes_with_xtb_unless_the_geometry_is_relaxed_already(tmp_path: Path) -> None:
    start = np.array([[0, 0, 0], [0.93, 0.0, 0.1], [-0.1, 0.0, 1.02]])
    triage = shipped()["triage"]
    first = compute(CalculationInput.of(np.array([8, 1, 1]), start, triage), tmp_path)
    assert first.coordinates_angstrom is not None
    positions = np.array(first.coordinates_angstrom)
    assert np.linalg.norm(positions[1] - positions[0]) == pytest.approx(0.959, abs=0.002)  # of GFN2-xTB
    again = compute(CalculationInput.of(np.array([8, 1, 1]), positions, triage, geometry_method="gfn2-xtb"), tmp_path)
    assert again.coordinates_angstrom is None
    assert again.gap_ev == pytest.approx(first.gap_ev, abs=1e-4)


def test_a_molecule_that_rearranges_is_a_finding_and_not_a_failure(tmp_path: Path) -> None:
    """Protonated water and a fluoride at hydrogen-bond distance: the proton moves over."""
    numbers = np.array([8, 1, 1, 1, 9])
    start = np.array([[0, 0, 0], [0.98, 0, 0], [-0.3, 0.93, 0], [-0.3, -0.4, 0.85], [2.15, 0, 0]], dtype=float)
    level = LEVEL.model_copy(update={"relaxation": ("self",), "basis": "6-31g"})
    output = compute(CalculationInput.of(numbers, start, level), tmp_path)
    assert output.rearranged is not None
    assert "O1-H2 broke" in output.rearranged
    assert "rearranged" in output.findings[0]
    assert output.gap_ev is not None
