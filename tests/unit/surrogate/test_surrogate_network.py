"""Symmetries and physics of trunk and heads, for every kind of layer."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gapsmith.core.units import DEBYE_TO_E_ANGSTROM
from gapsmith.surrogate.graph import graph
from gapsmith.surrogate.heads import shares
from gapsmith.surrogate.network import SurrogateNetwork

KINDS: list[dict[str, Any]] = [
    {"layer": "painn"},
    {"layer": "equivariant_transformer"},
    {"layer": "painn", "attention_heads": 2},
]
VECTORS = ("dipole.vector", "gfn2_forces", "gfn2_forces.vector")
seeds = st.integers(0, 2**31)
sizes = st.integers(1, 12)


@pytest.fixture(scope="module", params=KINDS, ids=["painn", "transformer", "attention"])
def model(request: pytest.FixtureRequest, small: SimpleNamespace) -> SurrogateNetwork:
    made: SurrogateNetwork = small.network(**request.param)
    return made


def rotation(seed: int) -> torch.Tensor:
    """A random orthogonal matrix, improper half of the time."""
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))
    return torch.from_numpy(q * np.sign(np.diag(r)))


@settings(max_examples=8, deadline=None)
@given(seeds, sizes)
def test_every_head_turns_with_the_molecule(
    model: SurrogateNetwork, small: SimpleNamespace, seed: int, atoms: int
) -> None:
    numbers, coordinates = small.molecule(seed, atoms)
    turn = rotation(seed)
    before = small.outputs(model, (numbers, coordinates))
    after = small.outputs(model, (numbers, coordinates @ turn.numpy().T + np.array([3.0, -20.0, 0.5])))
    for name, values in before.items():
        expected = values @ turn.T if name in VECTORS else values
        torch.testing.assert_close(after[name], expected, msg=partial("{}: {}".format, name))
    if atoms > 2:
        assert before["dipole.vector"].abs().max() > 1e-4
        assert before["gfn2_forces"].abs().max() > 1e-6


@settings(max_examples=8, deadline=None)
@given(seeds, sizes)
def test_order_of_atoms_changes_nothing_but_their_order(
    model: SurrogateNetwork, small: SimpleNamespace, seed: int, atoms: int
) -> None:
    numbers, coordinates = small.molecule(seed, atoms)
    order = np.random.default_rng(seed).permutation(atoms)
    before = small.outputs(model, (numbers, coordinates))
    after = small.outputs(model, (numbers[order], coordinates[order]))
    for name, values in before.items():
        of_atoms = name.startswith(("mulliken_charge", "gfn2_forces"))
        torch.testing.assert_close(after[name], values[order] if of_atoms else values)


@settings(max_examples=6, deadline=None)
@given(st.lists(st.tuples(seeds, sizes), min_size=2, max_size=5))
def test_a_molecule_does_not_see_its_batch(
    model: SurrogateNetwork, small: SimpleNamespace, many: list[tuple[int, int]]
) -> None:
    molecules = [small.molecule(*one) for one in many]
    together = small.outputs(model, *molecules)
    alone = [small.outputs(model, one) for one in molecules]
    for name, values in together.items():
        torch.testing.assert_close(values, torch.cat([one[name] for one in alone]))


def test_forces_are_minus_the_gradient_by_finite_differences(model: SurrogateNetwork, small: SimpleNamespace) -> None:
    numbers, coordinates = small.molecule(4, 6)
    forces = small.outputs(model, (numbers, coordinates))["gfn2_forces"]
    step = 1e-5
    for atom, axis in [(0, 0), (2, 1), (5, 2)]:
        energies = []
        for sign in (1, -1):
            moved = coordinates.copy()
            moved[atom, axis] += sign * step
            energies.append(float(small.outputs(model, (numbers, moved))["gfn2_energy"].mean()))
        assert forces[atom, axis] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), rel=1e-5, abs=1e-8)
    torch.testing.assert_close(forces.sum(0), torch.zeros(3, dtype=torch.float64), atol=1e-10, rtol=0)


@settings(max_examples=8, deadline=None)
@given(seeds, sizes)
def test_charges_add_up_to_zero(model: SurrogateNetwork, small: SimpleNamespace, seed: int, atoms: int) -> None:
    numbers, coordinates = small.molecule(seed, atoms)
    charges = small.outputs(model, (numbers, coordinates))["mulliken_charge"]
    torch.testing.assert_close(charges.sum(0), torch.zeros_like(charges[0]), atol=1e-12, rtol=0)
    if len(set(numbers)) > 1:
        assert charges.abs().max() > 1e-4


def test_far_apart_molecules_have_the_sum_of_their_energies(small: SimpleNamespace) -> None:
    for kind in KINDS[:2]:  # attention to the whole molecule knows no distance
        model = small.network(**kind)
        one, two = small.molecule(1, 5), small.molecule(2, 7)
        both = np.concatenate([one[0], two[0]]), np.concatenate([one[1], two[1] + 100.0])
        apart, together = small.outputs(model, one, two), small.outputs(model, both)
        for name in ("gfn2_energy", "atomization_energy", "polarizability"):
            torch.testing.assert_close(together[name][0], apart[name].sum(0))
        torch.testing.assert_close(together["gfn2_forces"], apart["gfn2_forces"])
        assert (together["gap"][0] - apart["gap"].sum(0)).abs().min() > 0.1  # a gap is none


def test_lumo_less_homo_is_the_gap_of_every_member(model: SurrogateNetwork, small: SimpleNamespace) -> None:
    found = small.outputs(model, small.molecule(0, 9), small.molecule(1, 3))
    torch.testing.assert_close(found["lumo"] - found["homo"], found["gap"])


def test_dipole_is_that_of_charges_when_atoms_have_no_vectors(small: SimpleNamespace) -> None:
    model = small.network()
    head = model.head("dipole")
    with torch.no_grad():
        head.local.weight.zero_()
        for parameter in head.readout.parameters():
            parameter.zero_()
        head.readout.last.weight.fill_(1.0)
        head.readout.hidden[0].bias.fill_(0.0)
    numbers, coordinates = small.molecule(3, 5)
    features = model.trunk(small.as_graph((numbers, coordinates)))
    charge = head.readout(features.atoms)
    charge = charge - charge.mean(0)
    expected = torch.einsum("nm,nx->xm", charge, torch.from_numpy(coordinates)) / DEBYE_TO_E_ANGSTROM
    torch.testing.assert_close(head(features).vector[0], expected.mean(-1))


def test_no_step_at_the_cutoff(model: SurrogateNetwork, small: SimpleNamespace) -> None:
    numbers, cutoff = np.array([6, 8]), model.config.trunk.cutoff_angstrom
    found = [
        small.outputs(model, (numbers, np.array([[0.0, 0.0, 0.0], [0.0, 0.0, cutoff + shift]])))
        for shift in (-1e-4, 1e-4)
    ]
    for name in found[0]:
        if name != "dipole" and "vector" not in name:  # charges have a moment however far apart
            torch.testing.assert_close(found[0][name], found[1][name], atol=1e-6, rtol=0)


def test_distance_and_element_matter(model: SurrogateNetwork, small: SimpleNamespace) -> None:
    numbers, coordinates = small.molecule(1, 6)
    before = small.outputs(model, (numbers, coordinates))
    for other in [
        small.outputs(model, (numbers, coordinates * 1.05)),
        small.outputs(model, (np.where(numbers == 6, 7, 6), coordinates)),
    ]:
        for name in model.names:
            assert (other[name] - before[name]).abs().max() > 1e-6, name


def test_members_start_differently(model: SurrogateNetwork, small: SimpleNamespace) -> None:
    found = small.outputs(model, small.molecule(5, 8))
    for name in model.names:
        if name != "gfn2_forces":
            assert len(torch.unique((found[name][0] * 1e8).round())) == model.config.ensemble.members, name
            assert len(torch.unique((found[f"{name}.noise"][0] * 1e8).round())) == model.config.ensemble.members, name


def test_single_precision_batch_equals_single(small: SimpleNamespace) -> None:
    model = small.network().float()
    molecules = [(z, x.astype(np.float32)) for z, x in (small.molecule(seed, 3 + seed % 9) for seed in range(30))]
    together = small.outputs(model, *molecules)
    for index in (0, 7, 29):
        alone = small.outputs(model, molecules[index])
        for name in ("gap", "homo", "dipole", "polarizability", "gfn2_energy"):
            torch.testing.assert_close(together[name][index], alone[name][0], atol=1e-5, rtol=1e-6)


@pytest.mark.slow
@settings(deadline=None)
@given(seeds, st.lists(sizes, min_size=1, max_size=5))
def test_shares_of_atoms_are_torch_geometrics_softmax(seed: int, atoms: list[int]) -> None:
    from torch_geometric.utils import softmax  # takes seconds to import

    torch.manual_seed(seed)
    whole = graph(torch.ones(sum(atoms), dtype=torch.int64), torch.randn(sum(atoms), 3), np.array(atoms))
    scores = (50 * torch.randn(sum(atoms), 4, dtype=torch.float64)).requires_grad_()
    ours, theirs = shares(scores, whole), softmax(scores, whole.molecule, num_nodes=len(atoms))
    torch.testing.assert_close(ours, theirs)
    for found in zip(*(torch.autograd.grad(one.square().sum(), scores) for one in (ours, theirs)), strict=True):
        torch.testing.assert_close(*found)
