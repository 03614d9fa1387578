"""How many atoms a molecule with the wanted properties has."""

import json

import numpy as np
import pytest
from vocabularies import VOCABULARY

from gapsmith.generator.data import Molecules
from gapsmith.generator.sizes import Sizes


def molecules() -> Molecules:
    """200 small ones of gap 10 and little polarizability, 200 large ones of gap 4 and much, 200 large ones of gap 10."""
    count, columns = 600, list(VOCABULARY.names)
    values, known = np.zeros((count, len(columns)), dtype=np.float32), np.zeros((count, len(columns)), dtype=bool)
    for name, parts in (("gap_ev", (10.0, 4.0, 10.0)), ("polarizability_bohr3", (30.0, 80.0, 80.0))):
        values[:, columns.index(name)] = np.repeat(parts, 200)
        known[:, columns.index(name)] = True
    empty = np.zeros((count, VOCABULARY.most_atoms))
    return Molecules(np.repeat([3, 9, 9], 200), empty, empty, empty, empty, values, known)


def share_of_small(sizes: Sizes, targets: dict[str, float] | None) -> float:
    weights = sizes.weights(targets)
    return float(weights[3] / weights.sum())


def test_sizes_follow_what_is_wanted() -> None:
    sizes = Sizes.of(molecules(), VOCABULARY.names)
    assert share_of_small(sizes, None) == pytest.approx(1 / 3)
    assert share_of_small(sizes, {"gap_ev": 10.0}) == pytest.approx(1 / 2, abs=0.02)
    assert share_of_small(sizes, {"gap_ev": 4.0}) == pytest.approx(0, abs=0.02)
    assert share_of_small(sizes, {"gap_ev": 10.0, "polarizability_bohr3": 30.0}) > 0.95
    assert share_of_small(sizes, {"gap_ev": 10.0, "polarizability_bohr3": 80.0}) < 0.05


def test_outside_the_data_the_nearest_count() -> None:
    assert share_of_small(Sizes.of(molecules(), VOCABULARY.names), {"gap_ev": 1.0}) < 0.05
    assert share_of_small(Sizes.of(molecules(), VOCABULARY.names), {"gap_ev": 40.0}) == pytest.approx(1 / 2, abs=0.1)


def test_properties_that_are_unknown_are_left_out() -> None:
    sizes = Sizes.of(molecules(), VOCABULARY.names)
    assert set(sizes.tables) == {"gap_ev", "polarizability_bohr3"}
    assert sizes.tables["gap_ev"].range == pytest.approx((4.0, 10.0))


def test_a_card_holds_them() -> None:
    sizes = Sizes.of(molecules(), VOCABULARY.names)
    again = Sizes.from_card(json.loads(json.dumps(sizes.to_card())))
    for targets in (None, {"gap_ev": 6.0}, {"gap_ev": 4.0, "polarizability_bohr3": 50.0}):
        assert np.allclose(again.weights(targets), sizes.weights(targets))
