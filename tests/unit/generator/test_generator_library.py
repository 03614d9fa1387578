"""A library is screened by successive refinement."""

import numpy as np
import pytest
from rdkit import Chem
from scipy.sparse import csr_matrix

from gapsmith.generator.library import fingerprints, screening


def library(*smiles: str) -> csr_matrix:
    return fingerprints.matrix(fingerprints.features(Chem.MolFromSmiles(one)) for one in smiles)


ALKANES = library(*("C" * length for length in range(1, 21)))


def test_similarity_is_that_of_counts() -> None:
    similarity = fingerprints.tanimoto(library("c1ccccc1", "CCC"), library("c1ccccc1", "[Na+]"))
    assert similarity[0, 0] == pytest.approx(1)
    assert similarity[:, 1] == pytest.approx(0)
    hexane, decane = ALKANES[5], ALKANES[9]  # the same environments, other counts
    assert 0 < fingerprints.tanimoto(hexane, decane)[0, 0] < 1


def test_of_no_molecules_nothing_is_chosen() -> None:
    empty = fingerprints.matrix([])
    assert empty.shape == (0, fingerprints.FEATURES)
    assert len(screening.choose(empty, np.zeros(0, dtype=int), np.zeros(0), 5, seed=0)) == 0


def test_scored_molecules_are_expected_where_they_scored() -> None:
    distinct, scores = ALKANES[:10], np.arange(10.0)  # of longer ones, counts are the same
    assert screening.expected(distinct, scores, distinct) == pytest.approx(scores, abs=0.7)


def test_equal_scores_expect_the_same_of_all() -> None:
    assert screening.expected(ALKANES[:3], np.full(3, 2.5), ALKANES) == pytest.approx(np.full(20, 2.5))


def test_the_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = screening.expected(ALKANES[:5], np.arange(5.0), ALKANES)
    monkeypatch.setattr(screening, "CHUNK", 3)
    assert screening.expected(ALKANES[:5], np.arange(5.0), ALKANES) == pytest.approx(whole)


def test_the_first_choice_is_random_by_its_seed() -> None:
    nothing = np.zeros(0, dtype=int)
    one, same, other = (screening.choose(ALKANES, nothing, np.zeros(0), 8, seed=seed) for seed in (1, 1, 2))
    assert one.tolist() == same.tolist() != other.tolist()
    assert len(set(one)) == 8


def test_what_was_scored_is_not_chosen_again_and_the_rest_is_at_the_end() -> None:
    scored = np.array([3, 7])
    chosen = screening.choose(ALKANES, scored, np.array([0.0, 1.0]), 100, seed=0)
    assert sorted([*chosen, *scored]) == list(range(20))


def test_relatives_of_what_scored_well_come_first() -> None:
    mixed = library("CCCCCC", "c1ccccc1", "CCCCCCC", "c1ccccc1C", "CCCCCCCC", "c1ccccc1CC")
    chosen = screening.choose(mixed, np.array([0, 1]), np.array([0.0, 1.0]), 2, seed=0)
    assert sorted(chosen) == [3, 5]
