"""Symmetries of the network, and what its configuration refuses."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gapsmith.core.errors import InputError
from gapsmith.surrogate.network import ELEMENTS, GapNetwork
from gapsmith.surrogate.trainable import SurrogateTrainable, build

SMALL = {
    "features": 32,
    "vector_features": 16,
    "heads": 4,
    "layers": 2,
    "radial": 12,
    "cutoff_angstrom": 6.0,
    "latent": 16,
    "members": 5,
}


@pytest.fixture(scope="module")
def network() -> GapNetwork:
    torch.manual_seed(3)
    return build(SMALL).double().eval()


def molecule(seed: int, atoms: int) -> tuple[Tensor, Tensor]:
    """Random elements on a jittered lattice: no two atoms coincide."""
    draw = np.random.default_rng(seed)
    sites = np.array([(i, j, k) for i in range(3) for j in range(3) for k in range(3)], dtype=np.float64)
    chosen = sites[draw.permutation(len(sites))[:atoms]] * 1.4 + draw.uniform(-0.3, 0.3, (atoms, 3))
    return torch.from_numpy(draw.choice(ELEMENTS, atoms)), torch.from_numpy(chosen)


def rotation(seed: int) -> Tensor:
    """A random orthogonal matrix, improper half of the time."""
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))
    return torch.from_numpy(q * np.sign(np.diag(r)))


def outputs(network: GapNetwork, numbers: Tensor, coordinates: Tensor) -> Tensor:
    """(1, everything) outputs of one molecule."""
    with torch.no_grad():
        return torch.cat(network(numbers, coordinates, torch.zeros(len(numbers), dtype=torch.long), 1), dim=1)


seeds = st.integers(0, 2**31)
sizes = st.integers(1, 12)


@settings(max_examples=25, deadline=None)
@given(seeds, sizes)
def test_rotation_reflection_translation_change_nothing(network: GapNetwork, seed: int, atoms: int) -> None:
    numbers, coordinates = molecule(seed, atoms)
    moved = coordinates @ rotation(seed).T + torch.tensor([3.0, -20.0, 0.5])
    torch.testing.assert_close(outputs(network, numbers, moved), outputs(network, numbers, coordinates))


@settings(max_examples=25, deadline=None)
@given(seeds, sizes)
def test_order_of_atoms_changes_nothing(network: GapNetwork, seed: int, atoms: int) -> None:
    numbers, coordinates = molecule(seed, atoms)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(atoms))
    torch.testing.assert_close(
        outputs(network, numbers[order], coordinates[order]), outputs(network, numbers, coordinates)
    )


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(2, 12))
def test_vector_features_turn_with_the_molecule(network: GapNetwork, seed: int, atoms: int) -> None:
    numbers, coordinates = molecule(seed, atoms)
    turn, mask = rotation(seed), torch.ones(1, atoms, dtype=torch.bool)
    with torch.no_grad():
        s, v = network.trunk(numbers[None], coordinates[None], mask)
        s_turned, v_turned = network.trunk(numbers[None], (coordinates @ turn.T)[None], mask)
    torch.testing.assert_close(s_turned, s)
    torch.testing.assert_close(v_turned, torch.einsum("xy,bnyw->bnxw", turn, v))
    assert v.abs().max() > 1e-3


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(seeds, sizes), min_size=2, max_size=5))
def test_a_molecule_does_not_see_its_batch(network: GapNetwork, many: list[tuple[int, int]]) -> None:
    parts = [molecule(*one) for one in many]
    numbers, coordinates = (torch.cat(column) for column in zip(*parts, strict=True))
    index = torch.repeat_interleave(torch.arange(len(parts)), torch.tensor([len(z) for z, _ in parts]))
    with torch.no_grad():
        together = torch.cat(network(numbers, coordinates, index, len(parts)), dim=1)
    alone = torch.cat([outputs(network, *part) for part in parts])
    torch.testing.assert_close(together, alone)


def test_distance_and_element_matter(network: GapNetwork) -> None:
    numbers, coordinates = molecule(1, 6)
    before = outputs(network, numbers, coordinates)
    assert (outputs(network, numbers, coordinates * 1.05) - before).abs().max() > 1e-4
    other = torch.where(numbers == 6, 7, 6)
    assert (outputs(network, other, coordinates) - before).abs().max() > 1e-4


def test_atoms_beyond_the_cutoff_send_no_messages(network: GapNetwork) -> None:
    one, two = molecule(1, 4), molecule(2, 5)
    far = torch.cat([one[1], two[1] + 100.0])
    with torch.no_grad():
        s, _ = network.trunk(torch.cat([one[0], two[0]])[None], far[None], torch.ones(1, 9, dtype=torch.bool))
        alone, _ = network.trunk(one[0][None], one[1][None], torch.ones(1, 4, dtype=torch.bool))
    torch.testing.assert_close(s[:, :4], alone)


def test_energy_surface_has_no_step_at_the_cutoff(network: GapNetwork) -> None:
    numbers = torch.tensor([6, 8])
    values = [
        outputs(network, numbers, torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, d]], dtype=torch.float64))
        for d in (SMALL["cutoff_angstrom"] - 1e-4, SMALL["cutoff_angstrom"] + 1e-4)
    ]
    torch.testing.assert_close(values[0], values[1], atol=1e-6, rtol=0)


def test_members_start_differently(network: GapNetwork) -> None:
    homo, gap, log_variance, _ = network(*molecule(5, 8), torch.zeros(8, dtype=torch.long), 1)
    for values in (homo[0], gap[0], log_variance[0]):
        assert len(torch.unique((values * 1e6).round())) == SMALL["members"]


def test_the_shipped_size_is_small() -> None:
    model = SurrogateTrainable().build(SurrogateTrainable().default_config())
    assert 3e5 < sum(p.numel() for p in model.parameters()) < 6e5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer": 3}, "did you mean 'layers'"),
        ({"features": 30}, "multiple of twice the heads"),
        ({"members": 17}, "at most 16"),
        ({"layers": 0}, "positive"),
        ({"layers": 2.5}, "whole number"),
        ({"heads": "4"}, "positive number"),
    ],
)
def test_wrong_configuration_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build({**SMALL, **change})


def test_missing_key_is_refused() -> None:
    with pytest.raises(InputError, match="lacks layers"):
        build({key: value for key, value in SMALL.items() if key != "layers"})
