"""The level ``wide``: the right basis set for every element, core potentials with it, and gaps as plain PySCF gives them."""

from pathlib import Path

import numpy as np
import pytest
from pyscf import dft, gto
from rdkit import Chem

from gapsmith.core.chemistry.conversion import from_rdkit
from gapsmith.core.chemistry.elements import SYMBOLS
from gapsmith.core.chemistry.embedding import embed
from gapsmith.core.levels import GFN2, Levels, shipped
from gapsmith.core.units import HARTREE_TO_EV
from gapsmith.core.xtb import relax
from gapsmith.dft_queue.basis import by_name, core_potentials, of_level
from gapsmith.dft_queue.compute import compute
from gapsmith.dft_queue.engines import find
from gapsmith.dft_queue.jobs import CalculationInput
from gapsmith.dft_queue.runner import Limits, run_in_child

WIDE = shipped()["wide"]
HYDROGEN_SULFIDE = [("S", (0, 0, 0)), ("H", (0.96, 0.93, 0)), ("H", (-0.96, 0.93, 0))]


def plain(mol: gto.Mole) -> tuple[float, float]:
    """Energy (hartree) and gap (eV) by PySCF itself with exact integrals."""
    field = dft.RKS(mol, xc="b3lypg")
    field.conv_tol = 1e-9
    field.kernel()
    occupied = field.mo_occ > 0
    gap = field.mo_energy[~occupied].min() - field.mo_energy[occupied].max()
    return float(field.e_tot), float(gap) * HARTREE_TO_EV


def relaxed(smiles: str) -> tuple[np.ndarray, np.ndarray]:
    rough = from_rdkit(embed(Chem.MolFromSmiles(smiles)))
    return rough.numbers, relax(rough.numbers, rough.coordinates).coordinates


@pytest.mark.parametrize(
    ("numbers", "basis"),
    [((16, 6, 1), "6-31g(d)"), ((17, 15, 14, 5, 9), "6-31g(d)"), ((35, 6), "def2-svp"), ((53, 16), "def2-svp")],
)
def test_the_basis_set_follows_from_the_elements(numbers: tuple[int, ...], basis: str) -> None:
    assert of_level(WIDE, numbers) == basis
    assert of_level(shipped()["triage"], numbers) == "6-31g(2df,p)"


def test_core_potentials_come_with_their_basis_set() -> None:
    assert set(core_potentials("def2-svp", (53, 80, 35, 6))) == {"I", "Hg"}
    assert core_potentials("6-31g(d)", (16, 6)) == {}


@pytest.mark.slow
def test_d_functions_are_cartesian_ones() -> None:
    ours = gto.M(atom=HYDROGEN_SULFIDE, basis=by_name("6-31g(d)", (16, 1)), verbose=0)
    cartesian = gto.M(atom=HYDROGEN_SULFIDE, basis="6-31g(d)", cart=True, verbose=0)
    energy, gap = plain(ours)
    wanted, wanted_gap = plain(cartesian)
    assert ours.nao == cartesian.nao
    assert energy == pytest.approx(wanted, abs=3e-5)
    assert gap == pytest.approx(wanted_gap, abs=1e-4)


def test_an_element_that_no_basis_set_has_is_refused() -> None:
    cerium = CalculationInput.of(np.array([58]), np.zeros((1, 3)), WIDE)
    assert find("pyscf").refusal(cerium) == "the basis set def2-svp has no functions for Ce"


@pytest.mark.slow
@pytest.mark.parametrize("smiles", ["c1ccsc1", "CBr", "OB(O)O"])
def test_gaps_are_those_of_plain_pyscf(smiles: str, tmp_path: Path) -> None:
    numbers, coordinates = relaxed(smiles)
    atoms = [(SYMBOLS[int(number)], tuple(row)) for number, row in zip(numbers, coordinates, strict=True)]
    basis = "def2-svp" if 35 in numbers else "6-31g(d)"
    _, wanted = plain(gto.M(atom=atoms, basis=basis, cart=basis == "6-31g(d)", verbose=0))
    found = compute(CalculationInput.of(numbers, coordinates, WIDE, geometry_method=GFN2), tmp_path, memory_mb=3000)
    assert found.gap_ev == pytest.approx(wanted, abs=0.003)


@pytest.mark.slow
@pytest.mark.parametrize(("smiles", "gap_ev"), [("CI", 6.08), ("C[Hg]C", 5.82)])
def test_heavy_elements_have_their_core_potentials(smiles: str, gap_ev: float, tmp_path: Path) -> None:
    numbers, coordinates = relaxed(smiles)
    found = compute(CalculationInput.of(numbers, coordinates, WIDE, geometry_method=GFN2), tmp_path, memory_mb=3000)
    assert found.gap_ev == pytest.approx(gap_ev, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("smiles", "gap_ev"),  # plain density-fitted PySCF 2.14 on grid 3, at the same geometries
    [("c1ccc2c(c1)[nH]c1ccccc12", 4.8626), ("c1ccc2cc3ccccc3cc2c1", 3.6076)],
)
def test_fused_rings_are_computed_within_the_memory_that_follows_from_them(
    smiles: str, gap_ev: float, tmp_path: Path
) -> None:
    job = CalculationInput.of(*relaxed(smiles), WIDE, geometry_method=GFN2)
    memory_mb = find("pyscf").memory_mb(job)
    assert memory_mb is not None
    found = run_in_child(job, tmp_path, Limits(memory_mb, wall_s=600.0, cpu_s=600.0))
    assert found.gap_ev == pytest.approx(gap_ev, abs=0.003)


@pytest.mark.slow
@pytest.mark.parametrize(("smiles", "gap_ev"), [("CI", 6.08), ("C[Hg]C", 5.82)])
def test_a_level_of_ones_own_has_core_potentials_too(smiles: str, gap_ev: float, tmp_path: Path) -> None:
    file = tmp_path / "levels.yaml"
    file.write_text("levels:\n  wide: {extends: triage, basis: def2-svp, grid: 3}\n")
    level = Levels.load(file)["wide"]
    numbers, coordinates = relaxed(smiles)
    job = CalculationInput.of(numbers, coordinates, level, geometry_method=GFN2)
    folder = tmp_path / "files"
    folder.mkdir()
    assert compute(job, folder, memory_mb=3000).gap_ev == pytest.approx(gap_ev, abs=0.02)
