"""Parts with what is required, and molecules that are grown around them."""

import numpy as np
import pytest
from rdkit import Chem

from gapsmith.core.campaign import Constraints
from gapsmith.core.chemistry.conversion import from_rdkit, to_rdkit
from gapsmith.core.chemistry.embedding import embed
from gapsmith.core.chemistry.identity import identify
from gapsmith.core.chemistry.screening import matches, screen
from gapsmith.core.errors import InvalidMolecule
from gapsmith.generator.generator import Generator
from gapsmith.generator.planting import part_of, planted
from gapsmith.training.roles import Planted

LIMITS = Constraints(elements=("C", "N", "O", "F"), heavy_atoms=(4, 9))


def part(smiles: str, *patterns: str) -> Planted | None:
    mol = embed(Chem.AddHs(Chem.MolFromSmiles(smiles)), keep_order=True)
    return part_of(from_rdkit(mol), mol, patterns)


def test_a_part_is_what_the_patterns_match() -> None:
    furan = part("CCc1ccoc1", "c1ccoc1")
    assert furan is not None
    assert furan.kept.tolist() == [False, False, True, True, True, True, True]
    assert not furan.closed.any()


def test_a_closed_atom_keeps_its_neighbours() -> None:
    amine = part("CCCN", "[NX3;H2]")
    assert amine is not None
    assert amine.kept.tolist() == [False, False, True, True]
    assert amine.closed.tolist() == [False, False, False, True]


def test_of_several_patterns_all_are_kept_with_as_few_atoms_as_may_be() -> None:
    both = part("OCCC(=O)O", "[CX3]=O", "[OX2H]")
    assert both is not None
    assert both.kept.tolist() == [False, False, False, True, True, True]  # the acid's own hydroxyl group
    assert part("CCO", "[OX2H]", "C#N") is None


def test_known_molecules_give_the_parts() -> None:
    found = planted(LIMITS.model_copy(update={"required_smarts": ("c1ccoc1",)}))
    assert len(found) >= 10
    for one in found:
        assert matches(to_rdkit(one.molecule), "c1ccoc1")
        assert one.kept.sum() == 5
    assert planted(LIMITS) == ()


def test_what_no_known_molecule_has_cannot_be_planted() -> None:
    nothing = LIMITS.model_copy(update={"heavy_atoms": (4, 5), "required_smarts": ("c1ccncc1",)})
    assert planted(nothing) == ()


@pytest.mark.slow
@pytest.mark.parametrize("required", [("c1ccoc1",), ("[NX3;H2]",), ("C#N", "[OX2H]")])
def test_most_molecules_have_what_is_planted(required: tuple[str, ...]) -> None:
    constraints = LIMITS.model_copy(update={"required_smarts": required})
    sampled = Generator.load().sample(
        32, {"gap_ev": 5.5}, 3, heavy_atoms=constraints.heavy_atoms, planted=planted(constraints)
    )
    usable: set[str] = set()
    for molecule in sampled.molecules:
        try:
            identity = identify(to_rdkit(molecule))
        except InvalidMolecule:
            continue
        if screen(to_rdkit(molecule), identity, constraints) is None:
            usable.add(identity.inchikey)
    assert len(usable) >= 16  # of 32 draws, each counted once; without planting one or two
    assert np.mean([4 <= (one.numbers != 1).sum() <= 9 for one in sampled.molecules]) == 1
