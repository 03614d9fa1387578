"""Ensembles of conformers: the lowest one counts, and the others are told of."""

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from gapsmith.core.chemistry.conversion import from_rdkit
from gapsmith.core.chemistry.embedding import embed
from gapsmith.core.levels import Conformers, LevelOfTheory, shipped
from gapsmith.dft_queue.compute import compute
from gapsmith.dft_queue.ensemble import FILE, GAS_CONSTANT_KCAL, TEMPERATURE_K
from gapsmith.dft_queue.jobs import CalculationInput
from gapsmith.dft_queue.runner import Limits, run_in_child


def job(smiles: str, level: str, conformers: Conformers | None) -> CalculationInput:
    molecule = from_rdkit(embed(Chem.MolFromSmiles(smiles)))
    asked = LevelOfTheory(**{**shipped()[level].model_dump(), "conformers": conformers})
    return CalculationInput.of(molecule.numbers, molecule.coordinates, asked).with_bonds(molecule)


@pytest.mark.slow
def test_aminoethanol_by_gfn2_xtb(tmp_path: Path) -> None:
    alone = compute(job("NCCO", "xtb", None), tmp_path)
    found = compute(job("NCCO", "xtb", Conformers()), tmp_path)
    ensemble = found.ensemble
    assert ensemble is not None
    assert len(ensemble.conformers) > 5  # the gauche and trans forms of three bonds
    assert found.energy_hartree <= alone.energy_hartree + 1e-5
    energies = np.array([one.energy_kcal for one in ensemble.conformers])
    weights = np.array([one.weight for one in ensemble.conformers])
    gaps = np.array([one.values["gap"] for one in ensemble.conformers])
    assert energies[0] == 0
    assert (np.diff(energies) > 0).all()
    assert energies[-1] <= 3.0
    assert weights.sum() == pytest.approx(1)
    factors = weights / np.exp(-energies / (GAS_CONSTANT_KCAL * TEMPERATURE_K))
    assert set(np.round(factors / factors.max(), 6)) <= {1.0, 0.5}  # those with a mirror plane count once
    assert ensemble.mean["gap"] == pytest.approx(weights @ gaps)
    assert ensemble.deviation["gap"] == pytest.approx(np.sqrt(weights @ (gaps - weights @ gaps) ** 2))
    assert found.gap_ev == pytest.approx(gaps[0], abs=1e-3)
    assert any("the gap depends on the conformer" in finding for finding in found.findings)
    assert found.files == (FILE,)
    frames = (tmp_path / FILE).read_text().splitlines()
    assert len(frames) == len(gaps) * (2 + 11)


@pytest.mark.slow
def test_without_bonds_of_its_own_the_geometry_tells_them(tmp_path: Path) -> None:
    told = job("NCCO", "xtb", Conformers(most=4))
    untold = told.model_copy(update={"bonds": (), "formal_charges": ()})
    assert compute(untold, tmp_path).gap_ev == pytest.approx(compute(told, tmp_path).gap_ev or 0.0, abs=1e-6)


def test_a_radical_whose_bonds_nothing_tells_is_computed_as_it_is(tmp_path: Path) -> None:
    methyl = np.array([[0.0, 0.0, 0.0], [1.08, 0.0, 0.0], [-0.54, 0.935, 0.0], [-0.54, -0.935, 0.0]])
    level = LevelOfTheory(**{**shipped()["xtb"].model_dump(), "conformers": {}})
    found = compute(CalculationInput.of(np.array([6, 1, 1, 1]), methyl, level, spin=1), tmp_path)
    assert found.ensemble is not None
    assert found.gap_ev is not None
    assert [one.values["gap"] for one in found.ensemble.conformers] == [found.gap_ev]
    assert (found.ensemble.mean["gap"], found.ensemble.deviation["gap"]) == (found.gap_ev, 0.0)


@pytest.mark.slow
def test_the_gap_of_malondialdehyde_depends_on_its_conformer(tmp_path: Path) -> None:
    found = run_in_child(job("O=CCC=O", "triage", Conformers()), tmp_path, Limits())
    assert found.ensemble is not None
    low, high = found.ensemble.range("gap")
    assert low == pytest.approx(5.43, abs=0.06)
    assert high == pytest.approx(5.83, abs=0.06)
    assert any(finding.startswith("the gap depends on the conformer: ") for finding in found.findings)
