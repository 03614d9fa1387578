"""The properties that come with gapsmith keep the contract; water's frontier orbitals serve as an example."""

from collections.abc import Mapping
from typing import Any

import pytest
from property_contract import PropertyContract

from gapsmith.core import properties
from gapsmith.core.errors import InputError
from gapsmith.core.properties import Estimate, Property

RESULT = {
    "homo_ev": -8.0,
    "lumo_ev": 2.0,
    "gap_ev": 10.0,
    "dipole_debye": 2.1,
    "excitations": [
        {"energy_ev": 3.0, "oscillator_strength": 0.0, "multiplicity": 3},
        {"energy_ev": 3.6, "oscillator_strength": 0.1, "multiplicity": 1},
        {"energy_ev": 5.0, "oscillator_strength": 0.7, "multiplicity": 1},
    ],
    "polarizability_bohr3": [[6.0, 1.0, 0.0], [1.0, 9.0, 0.0], [0.0, 0.0, 3.0]],
}
VALUES = {
    "gap": 10.0,
    "homo": -8.0,
    "lumo": 2.0,
    "dipole": 2.1,
    "polarizability": 6.0,  # a third of the trace
    "electronegativity": 3.0,
    "hardness": 5.0,
    "s1": 3.6,
    "t1": 3.0,
    "delta_st": 0.6,
    "oscillator_strength": 0.1,  # into S1
}


@pytest.mark.parametrize("name", VALUES)
class TestShipped(PropertyContract):
    """Each of them."""

    @pytest.fixture(autouse=True)
    def _chosen(self, name: str) -> None:
        self.name = name

    @property
    def subject(self) -> Property:
        return properties.get(self.name)

    @property
    def example(self) -> tuple[Mapping[str, Any], float]:
        return RESULT, VALUES[self.name]


def test_all_values_of_a_result() -> None:
    assert properties.computed(RESULT) == pytest.approx(VALUES)
    assert properties.computed({"homo_ev": -8.0}) == {"homo": -8.0}


def test_errors_of_heads_add_up() -> None:
    heads = {"homo": Estimate(-8.0, 0.1, -8.2, -7.8), "lumo": Estimate(2.0, 0.3, 1.4, 2.6)}
    found = properties.get("electronegativity").predicted(heads)
    assert found == pytest.approx(Estimate(3.0, 0.2, 2.6, 3.4))


def test_an_unknown_property_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="no property 'dipol'; did you mean 'dipole'"):
        properties.get("dipol")


def test_what_models_predict_and_levels_compute() -> None:
    assert properties.predictable(["gap", "homo"]) == ["gap", "homo"]
    assert properties.predictable(["homo", "lumo"]) == ["homo", "lumo", "electronegativity", "hardness"]
    assert "delta_st" in properties.predictable(["s1", "t1"])
    assert "delta_st" not in properties.computable(["excitations"])
    assert "polarizability" not in properties.computable([])
    assert "polarizability" in properties.computable(["frequencies", "polarizability"])
