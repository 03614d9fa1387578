"""Drafts become rows: relaxed, still the same molecule, and nothing that must not be in a set."""

from collections.abc import Iterable, Mapping

import numpy as np
import pytest

from gapsmith.core.chemistry.conversion import from_rdkit
from gapsmith.core.domain import Molecule
from gapsmith.core.electronic import electronic_structure
from gapsmith.core.errors import CalculationError, InputError, InvalidMolecule
from gapsmith.factory import making, pools
from gapsmith.factory.making import make, make_chunk
from gapsmith.factory.pools import Draft


def rough(smiles: str) -> Molecule:
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom

    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=3) == 0
    return from_rdkit(mol)


class FixedPool:
    """One chunk of given molecules."""

    novel = True

    def __init__(self, *smiles: str) -> None:
        self.drafts = [Draft(rough(one), wanted_gap_ev=3.0) for one in smiles]

    def chunk(self, number: int, seed: int) -> Iterable[Draft] | None:
        return self.drafts if number == 0 else None

    def provenance(self) -> Mapping[str, str]:
        return {}


@pytest.fixture(autouse=True)
def _small_qm9(monkeypatch: pytest.MonkeyPatch) -> None:
    benzene = "UHOVQNZJYSORNB-UHFFFAOYSA-N"
    monkeypatch.setattr(making, "in_qm9", lambda inchikey: inchikey == benzene)


def test_a_molecule_is_stored_as_it_was_computed() -> None:
    found = make(Draft(rough("CC=O")), set(), novel=True)
    again = electronic_structure(found.molecule.numbers, found.steps * 5e-4)
    assert again.orbital_energies_ev == pytest.approx(found.electronic.orbital_energies_ev, abs=1e-5)
    assert found.smiles == "CC=O"
    carbon_oxygen = np.linalg.norm(found.molecule.coordinates[1] - found.molecule.coordinates[2])
    assert carbon_oxygen == pytest.approx(1.20, abs=0.02)
    assert found.cpu_s > 0


@pytest.mark.parametrize(
    ("smiles", "reason"), [("c1ccccc1", "in QM9"), ("C=CCCCC", "held out"), ("[O-][n+]1ccccc1", None)]
)
def test_what_may_be_in_a_set(smiles: str, reason: str | None) -> None:
    if reason is None:
        assert make(Draft(rough(smiles)), set(), novel=True).molecule.charges.sum() == 0
        return
    with pytest.raises(InvalidMolecule) as error:
        make(Draft(rough(smiles)), set(), novel=True)
    assert error.value.reason == reason


def test_known_molecules_of_qm9_are_let_through_where_they_are_wanted() -> None:
    assert make(Draft(rough("c1ccccc1")), set(), novel=False).smiles == "c1ccccc1"


def test_a_molecule_that_rearranges_is_refused() -> None:
    molecule = rough("CO")
    torn = molecule.coordinates.copy()
    torn[5] += torn[5] - torn[1]  # the hydroxyl hydrogen far away
    bonds = np.array([[0, 1, 1], [0, 2, 1], [0, 3, 1], [0, 4, 1], [0, 5, 1]], np.int16)
    wrong = Molecule(molecule.numbers, torn, molecule.charges, bonds)
    with pytest.raises((InvalidMolecule, CalculationError)):
        make(Draft(wrong), set(), novel=True)


def test_a_chunk_counts_what_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = FixedPool("CC=O", "c1ccccc1", "CC=O", "CC#N")
    monkeypatch.setattr(pools, "find", lambda name: pool)
    chunk = make_chunk("fixed", 0, 0, frozenset({"WEVYAHXRMPXWCK-UHFFFAOYSA-N"}))
    assert [one.smiles for one in chunk.made] == ["CC=O"]
    assert chunk.refused == {"in QM9": 1, "duplicate": 2}
    assert not chunk.exhausted
    assert make_chunk("fixed", 1, 0).exhausted


def test_an_unknown_pool_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"no pool is called 'qm7'.*generated"):
        pools.find("qm7")
