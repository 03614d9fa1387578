"""Charge and spin are decided, shown and checked."""

import re
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from gapsmith.core.chemistry.elements import TRANSITION_METALS
from gapsmith.core.chemistry.embedding import embed
from gapsmith.core.levels import shipped
from gapsmith.core.multiplicity import lower_of_singlet_and_triplet
from gapsmith.dft_queue.commands.molecules import Entry, Wish, entries
from gapsmith.dft_queue.compute import compute, doubts
from gapsmith.dft_queue.jobs import CalculationInput, CalculationOutput

CASES = Path(__file__).parents[2] / "data" / "cases"
XTB = Wish(shipped()["xtb"])
METHYLENE = np.array([6, 1, 1]), np.array([[0, 0, 0], [0.9, 0.6, 0], [-0.9, 0.6, 0]])


def asked(text: str, folder: Path, ending: str = "smi", wish: Wish = XTB) -> list[Entry]:
    (folder / f"a.{ending}").write_text(text)
    return list(entries(folder / f"a.{ending}", wish))


def angle(found: CalculationOutput, centre: int, first: int, second: int) -> float:
    x = np.array(found.coordinates_angstrom)
    u, v = x[first] - x[centre], x[second] - x[centre]
    return float(np.degrees(np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v))))


@pytest.mark.slow
def test_of_singlet_and_triplet_the_lower_one_is_asked_for(tmp_path: Path) -> None:
    found = {one.name: one for one in entries(CASES / "smi_carbenes.smi", XTB)}
    spins = {name.split("_")[0]: one.spin for name, one in found.items()}
    assert spins == {"NHC": 0, "methylene": 2, "difluorocarbene": 0, "methyl": 0}
    assert all(one.refusal is None for one in found.values())
    assert "the triplet is computed" in found["methylene"].findings[0]
    assert "the singlet is computed" in found["difluorocarbene"].findings[0]
    assert found["methyl_isocyanide"].findings == ()
    (stated,) = asked("[CH2]\n", tmp_path, wish=Wish(XTB.level, spin=0))
    assert (stated.spin, stated.findings) == (0, ())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("smiles", "spin"),
    [("[NH]", 2), ("[SiH2]", 0), ("[O][O]", 2), ("Cl[C]Cl", 0), ("c1ccccc1[CH]", 2), ("[CH3]", 1), ("C", 0)],
)
def test_known_ground_states(smiles: str, spin: int, tmp_path: Path) -> None:
    (found,) = asked(f"{smiles}\n", tmp_path)
    assert (found.refusal, found.spin) == (None, spin)


def test_the_difference_is_roughly_that_of_experiment() -> None:
    spin, finding = lower_of_singlet_and_triplet(*METHYLENE, charge=0)
    assert spin == 2
    below = float(finding.partition("is computed, ")[2].split()[0])
    assert below == pytest.approx(0.39, abs=0.25)  # eV; Leopold et al., J. Chem. Phys. 83, 4849 (1985)


@pytest.mark.parametrize("smiles", ["[C]=[C]", "[Fe]", "Cl[Fe]Cl", "[N]", "[CH]C[CH2]"])
def test_what_bonds_do_not_tell_has_to_be_said(smiles: str, tmp_path: Path) -> None:
    (refused,) = asked(f"{smiles}\n", tmp_path)
    assert refused.refusal is not None
    assert "--spin" in refused.refusal
    assert "multiplicity" in refused.refusal
    (said,) = asked(f"smiles,multiplicity\n{smiles},{4 if smiles in ('[N]', '[CH]C[CH2]') else 5}\n", tmp_path, "csv")
    assert (said.refusal, said.spin) == (None, 3 if smiles in ("[N]", "[CH]C[CH2]") else 4)


def test_a_metal_with_a_closed_shell_needs_no_spin(tmp_path: Path) -> None:
    (found,) = asked("C[Hg]C\n", tmp_path)
    assert (found.refusal, found.spin, found.findings) == (None, 0, ())
    assert 80 in TRANSITION_METALS


@pytest.mark.parametrize(
    ("text", "ending", "state"),
    [
        ("smiles;charge;Multiplicity\n[NH4+];1;1\n", "csv", (1, 0)),
        ("smiles,spin multiplicity\n[CH2],1.0\n", "csv", (0, 0)),
        ("smiles,charge,multiplicity\nC,,\n", "csv", (0, 0)),
        ("2\nhydroxide charge=-1 multiplicity=1\nO 0 0 0\nH 0 0 0.96\n", "xyz", (-1, 0)),
        ("2\nProperties=species:S:1:pos:R:3 charge=0 multiplicity=3\nO 0 0 0\nO 0 0 1.2\n", "xyz", (0, 2)),
    ],
)
def test_charge_and_multiplicity_are_read(text: str, ending: str, state: tuple[int, int], tmp_path: Path) -> None:
    (found,) = asked(text, tmp_path, ending)
    assert (found.refusal, (found.charge, found.spin)) == (None, state)


def test_tags_of_an_sdf_are_read(tmp_path: Path) -> None:
    mol = embed(Chem.MolFromSmiles("[CH2]"))
    block = "".join(line for line in Chem.MolToMolBlock(mol).splitlines(keepends=True) if not line.startswith("M  RAD"))
    tagged = [asked(f"{block}> <Multiplicity>\n{value}\n\n$$$$\n", tmp_path, "sdf")[0] for value in (1, 3)]
    assert [(one.refusal, one.spin) for one in tagged] == [(None, 0), (None, 2)]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("[NH4+],0,1", r"stated as \+0, but its atoms and bonds have \+1"),
        ("C,some,1", "'charge' is 'some', which is not a possible charge"),
        ("C,0,0", "'multiplicity' is '0', which is not a possible multiplicity"),
        ("C,0,2", "10 electrons cannot have 1 unpaired"),
    ],
)
def test_what_contradicts_is_refused(row: str, words: str, tmp_path: Path) -> None:
    (found,) = asked(f"smiles,charge,multiplicity\n{row}\n", tmp_path, "csv")
    assert found.refusal is not None
    assert re.search(words, found.refusal), found.refusal


def test_what_should_not_be_believed_is_told() -> None:
    fine = {"homo_ev": -6.0, "lumo_ev": 1.0, "s_squared": 0.76}
    assert doubts(fine, spin=1) == []
    (negative,) = doubts({**fine, "lumo_ev": -6.4}, spin=1)
    assert "gap is negative (-0.40 eV)" in negative
    (unbound,) = doubts({**fine, "homo_ev": 0.5, "lumo_ev": 2.0}, spin=1)
    assert "HOMO's energy is positive" in unbound
    (mixed,) = doubts({**fine, "s_squared": 1.1}, spin=1)
    assert "S^2 is 1.10 where a pure doublet has 0.75" in mixed
    assert doubts({"homo_ev": None, "lumo_ev": None}, spin=0) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "gap_ev", "squared"),
    [("methylene", 4.55, 2.0), ("difluorocarbene", 5.99, 0.0), ("NHC_dimethylimidazolylidene", 6.46, 0.0)],
)
def test_carbenes_have_the_gap_of_their_ground_state(name: str, gap_ev: float, squared: float, tmp_path: Path) -> None:
    entry = next(one for one in entries(CASES / "smi_carbenes.smi", Wish(shipped()["triage"])) if one.name == name)
    assert entry.molecule is not None
    job = CalculationInput.of(
        entry.molecule.numbers, entry.molecule.coordinates, shipped()["triage"], entry.charge, entry.spin
    )
    found = compute(job, tmp_path)
    assert found.gap_ev == pytest.approx(gap_ev, abs=0.03)
    assert found.s_squared == pytest.approx(squared, abs=0.05)
    if len(job.numbers) == 3:
        centre = job.numbers.index(6)
        assert angle(found, centre, *(atom for atom in range(3) if atom != centre)) < 140


@pytest.mark.slow
def test_a_biradical_as_a_closed_shell_is_found_out(tmp_path: Path) -> None:
    oxygen = np.array([8, 8]), np.array([[0, 0, 0], [0, 0, 1.21]])
    single = shipped()["single-point"]
    found = compute(CalculationInput.of(*oxygen, single), tmp_path)
    assert any("unrestricted wave function lies lower" in one for one in found.findings)
    triplet = compute(CalculationInput.of(*oxygen, single, spin=2), tmp_path)
    assert triplet.findings == ()
    assert triplet.energy_hartree < found.energy_hartree - 0.03
