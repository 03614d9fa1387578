"""The rounds of a collection, with rounds whose molecules are known."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
from model_cards import DOMAIN
from rdkit import Chem
from rdkit.Chem import AllChem

from gapsmith.core.chemistry.conversion import from_rdkit, to_rdkit
from gapsmith.core.chemistry.identity import identify
from gapsmith.core.errors import InputError
from gapsmith.generator.commands import wishes
from gapsmith.generator.commands.collecting import FEWEST_ATTEMPTS, FRUITLESS, MOST_ATTEMPTS, Collection, collect
from gapsmith.generator.generator import Generated
from gapsmith.generator.molecule import GeneratedMolecule

ALKANES = ["C" * length for length in range(1, 13)]


def molecule(smiles: str) -> GeneratedMolecule:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    plain = from_rdkit(mol)
    return GeneratedMolecule(plain.numbers, plain.coordinates, plain.charges, plain.bonds, np.full(len(plain), -1))


class Rounds:
    """Gives out molecules in their order, None for a refused attempt."""

    def __init__(self, smiles: Iterable[str | None]) -> None:
        self._smiles: Iterator[str | None] = iter(smiles)
        self.counts: list[int] = []
        self.seeds: list[int] = []

    def __call__(self, count: int, seed: int, first: int, on_progress: Callable[[int], None]) -> Generated:
        assert first == sum(self.counts)
        self.counts.append(count)
        self.seeds.append(seed)
        drawn = [next(self._smiles, None) for _ in range(count)]
        made = [molecule(one) for one in drawn if one is not None]
        on_progress(count)
        origins = [number for number, one in enumerate(drawn) if one is not None]
        return Generated(made, [None] * len(made), origins, count, Counter(valence=count - len(made)))


def smiles_of(result: Collection) -> list[str]:
    return [one.identity.smiles for one in result.found]


def test_rounds_go_on_until_there_are_enough() -> None:
    draw = Rounds(["C", "C", None, "CC", "CCC", "C", *ALKANES])
    progress: list[tuple[int, int]] = []
    result = collect(6, draw, 0, most_at_once=4, on_progress=lambda found, made: progress.append((found, made)))
    assert smiles_of(result) == ["C", "CC", "CCC", "CCCC", "CCCCC", "CCCCCC"]
    assert result.complete
    assert (result.refused, result.duplicates) == (Counter(valence=1), 5)
    assert result.attempts == sum(draw.counts) == len(smiles_of(result)) + 1 + 5 + result.surplus
    assert progress[-1] == (6, result.attempts)
    assert max(draw.counts) == 4
    assert len(set(draw.seeds)) == len(draw.seeds)


def test_seeds_of_rounds_follow_from_the_seed() -> None:
    seeds = []
    for seed in (5, 5, 6):
        draw = Rounds(ALKANES)
        collect(6, draw, seed, most_at_once=2)
        seeds.append(draw.seeds)
    assert seeds[0] == seeds[1]
    assert not set(seeds[0]) & set(seeds[2])


def test_parents_are_no_results() -> None:
    parent = identify(to_rdkit(molecule("CC"))).inchikey
    result = collect(2, Rounds(["CC", "C", "CC", "CCC"]), 0, most_at_once=4, without={parent})
    assert smiles_of(result) == ["C", "CCC"]
    assert result.parents_again == 2


@pytest.mark.slow
def test_it_gives_up_when_nothing_new_comes() -> None:
    result = collect(50, Rounds(["C", "CC"] * 10_000), 0, most_at_once=64)
    assert smiles_of(result) == ["C", "CC"]
    assert not result.complete
    assert FRUITLESS <= result.attempts <= 2 * FRUITLESS
    assert result.duplicates == result.attempts - 2


def test_it_gives_up_after_so_many_attempts() -> None:
    trickle = [smiles for one in ALKANES for smiles in (one, *[None] * 40)]
    result = collect(12, Rounds(trickle), 0, most_at_once=30)
    assert result.attempts == MOST_ATTEMPTS * 12
    assert len(result.found) == 6
    assert collect(1, Rounds([]), 0, most_at_once=64).attempts == FEWEST_ATTEMPTS


def test_an_interruption_keeps_the_rounds_before_it() -> None:
    rounds = Rounds(ALKANES)

    def draw(count: int, seed: int, first: int, on_progress: Callable[[int], None]) -> Generated:
        if first >= 4:
            raise KeyboardInterrupt
        return rounds(count, seed, first, on_progress)

    result = collect(10, draw, 0, most_at_once=2)
    assert result.interrupted
    assert smiles_of(result) == ALKANES[:4]
    assert result.attempts == 4


def test_known_molecules_are_told_apart() -> None:
    result = collect(2, Rounds(["CCO", "C" * 12]), 0, most_at_once=8)
    assert [one.in_qm9 for one in result.found] == [True, False]


def test_wishes_are_understood() -> None:
    assert wishes.elements("N, C,H", DOMAIN) == (6, 7)
    assert wishes.elements(None, DOMAIN) is None
    assert wishes.span("4-9", "--heavy-atoms", 1, 16) == wishes.span(" 4 : 9", "--heavy-atoms", 1, 16) == (4, 9)
    assert wishes.span("6", "--heavy-atoms", 1, 16) == (6, 6)
    assert wishes.span(None, "--heavy-atoms", 1, 16) == (1, 16)
    assert wishes.numbers("3, 4,7-9,4", "--mask-atoms") == (3, 4, 7, 8, 9)
    assert wishes.numbers(None, "--mask-atoms") == ()
    assert wishes.contradiction({"gap_ev": 7.0, "homo_ev": -6.5, "lumo_ev": 0.4}) is None
    assert wishes.contradiction({"gap_ev": 4.0, "homo_ev": -6.5}) is None
    assert "6.9 eV" in (wishes.contradiction({"gap_ev": 4.0, "homo_ev": -6.5, "lumo_ev": 0.4}) or "")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wishes.elements("C,Si", DOMAIN), "'Si'; choose from C, N, O, F"),
        (lambda: wishes.elements("c", DOMAIN), "did you mean C"),
        (lambda: wishes.elements("H", DOMAIN), "no element but hydrogen"),
        (lambda: wishes.elements(",", DOMAIN), "no element"),
        (lambda: wishes.span("9-4", "--heavy-atoms", 1, 16), "runs backwards"),
        (lambda: wishes.span("0-4", "--heavy-atoms", 1, 16), "impossible.*1 to 16"),
        (lambda: wishes.span("4-17", "--heavy-atoms", 1, 16), "impossible"),
        (lambda: wishes.span("many", "--heavy-atoms", 1, 16), "is no range"),
        (lambda: wishes.span("-4", "--heavy-atoms", 1, 16), "is no range"),
        (lambda: wishes.numbers("1,,2", "--mask-atoms"), "no list of atom numbers"),
        (lambda: wishes.numbers("5-3", "--mask-atoms"), "runs backwards"),
        (lambda: wishes.numbers("0", "--mask-atoms"), "counted from 1"),
    ],
)
def test_wrong_wishes_say_what_is_wrong(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
