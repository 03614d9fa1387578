"""Whole trajectories: symmetric, faithful to what is kept, repeatable."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from vocabularies import GHOST_ATOM, MASK_ATOM, MASK_CHARGE, VOCABULARY

from gapsmith.generator import masks
from gapsmith.generator.filling import fill, to_tensors
from gapsmith.generator.molecule import Skeleton
from gapsmith.generator.network import Denoiser, Noisy
from gapsmith.generator.sampling import SamplingOptions, Seeded, Start, Wanted, sample
from gapsmith.generator.vocabulary import MASK_BOND

PROPERTY = settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
SEEDS = st.integers(0, 2**31 - 1)
FEW = SamplingOptions(steps=6, guidance=2.0)


class Matched:
    """A seed's randomness, turned by a matrix and with the atoms in another order."""

    def __init__(self, seed: int, matrix: torch.Tensor, order: torch.Tensor, batch: int = 3) -> None:
        self.seeded = Seeded([seed + row for row in range(batch)], [len(order)] * batch)
        self.matrix, self.order = matrix, order

    def normal(self, shape: tuple[int, ...]) -> torch.Tensor:
        return (self.seeded.normal(shape).double() @ self.matrix.T)[:, self.order]

    def gumbel(self, shape: tuple[int, ...]) -> torch.Tensor:
        return self.seeded.gumbel(shape).double()[:, self.order]

    def pair_gumbel(self, shape: tuple[int, ...]) -> torch.Tensor:
        return self.seeded.pair_gumbel(shape).double()[:, self.order][:, :, self.order]


def plain_randomness(seed: int, batch: int = 3) -> Matched:
    return Matched(seed, torch.eye(3, dtype=torch.float64), torch.arange(6), batch)


def wanted(gap_ev: float, batch: int = 3) -> Wanted:
    values = torch.full((batch, len(VOCABULARY.names)), gap_ev, dtype=torch.float64)
    return Wanted(values, torch.arange(len(VOCABULARY.names)).expand(batch, -1) < 2)


def start(seed: int, batch: int = 3, atoms: int = 6) -> Start:
    """The first molecule is all masked; of the others some atoms are kept, and the last is padded."""
    generator = torch.Generator().manual_seed(seed)
    masked = torch.rand(batch, atoms, generator=generator) < 0.5
    masked[0], masked[:, 0], masked[1:, 1] = True, True, False
    present = torch.ones(batch, atoms, dtype=torch.bool)
    present[-1, -1] = False
    bonds = torch.triu(torch.randint(4, (batch, atoms, atoms), generator=generator), 1)
    return Start(
        torch.randint(1, 5, (batch, atoms), generator=generator),
        torch.ones(batch, atoms, dtype=torch.int64),
        bonds + bonds.transpose(1, 2),
        torch.randn(batch, atoms, 3, generator=generator, dtype=torch.float64),
        masked,
        present,
        torch.arange(batch) % 2 == 0,
        torch.zeros(batch, atoms, dtype=torch.bool),
    )


@PROPERTY
@given(SEEDS, SEEDS)
def test_trajectory_turns_and_mirrors_with_its_noise(
    make_denoiser: Callable[..., Denoiser], seed: int, turn: int
) -> None:
    denoiser, begin, gap = make_denoiser(seed % 5), start(seed), wanted(5.0)
    matrix = torch.from_numpy(np.linalg.qr(np.random.default_rng(turn).normal(size=(3, 3)))[0])
    plain = sample(denoiser, begin, gap, plain_randomness(seed), FEW)
    turned = begin._replace(coordinates=begin.coordinates @ matrix.T)
    other = sample(denoiser, turned, gap, Matched(seed, matrix, torch.arange(6)), FEW)
    present = begin.present
    assert torch.allclose((plain.coordinates @ matrix.T)[present], other.coordinates[present], atol=1e-7)
    assert torch.equal(plain.atoms[present], other.atoms[present])
    assert torch.equal(plain.bonds, other.bonds)


@PROPERTY
@given(SEEDS, st.permutations(range(6)))
def test_trajectory_does_not_know_the_order_of_atoms(
    make_denoiser: Callable[..., Denoiser], seed: int, permutation: list[int]
) -> None:
    denoiser, begin, gap = make_denoiser(seed % 5), start(seed), wanted(5.0)
    p, eye = torch.tensor(permutation), torch.eye(3, dtype=torch.float64)
    plain = sample(denoiser, begin, gap, plain_randomness(seed), FEW)
    moved = {name: t[:, p] for name, t in begin._asdict().items() if name != "ghosts"}
    shuffled = begin._replace(**moved | {"bonds": moved["bonds"][:, :, p]})
    other = sample(denoiser, shuffled, gap, Matched(seed, eye, p), FEW)
    assert torch.allclose(plain.coordinates[:, p], other.coordinates, atol=1e-7)
    assert torch.equal(plain.atoms[:, p], other.atoms)
    assert torch.equal(plain.bonds[:, p][:, :, p], other.bonds)


@PROPERTY
@given(SEEDS)
def test_kept_atoms_and_bonds_stay_to_the_bit_and_nothing_stays_masked(
    make_denoiser: Callable[..., Denoiser], seed: int
) -> None:
    begin = start(seed)
    end = sample(make_denoiser(), begin, None, plain_randomness(seed), FEW)
    kept = begin.present & ~begin.masked
    assert torch.equal(end.coordinates[kept], begin.coordinates[kept])
    assert torch.equal(end.atoms[kept], begin.atoms[kept])
    both = kept[:, :, None] & kept[:, None, :]
    assert torch.equal(end.bonds[both], begin.bonds[both])
    assert (end.atoms[begin.masked & begin.present] < MASK_ATOM).all()
    assert (end.charges < MASK_CHARGE).all()
    assert (end.bonds < MASK_BOND).all()
    assert torch.equal(end.bonds, end.bonds.transpose(1, 2))


def test_only_wanted_elements_appear(make_denoiser: Callable[..., Denoiser]) -> None:
    begin = start(1, batch=8)._replace(masked=torch.ones(8, 6, dtype=torch.bool))
    options = SamplingOptions(steps=5, temperature=3.0, elements=(6, 9))
    end = sample(make_denoiser(), begin, None, plain_randomness(0, 8), options)
    assert set(end.atoms[begin.present].tolist()) <= {1, 4, GHOST_ATOM}


def test_ghosts_appear_only_where_they_may(make_denoiser: Callable[..., Denoiser]) -> None:
    begin = start(1, batch=8)._replace(masked=torch.ones(8, 6, dtype=torch.bool))
    denoiser = make_denoiser()
    denoiser.atom_out.bias.data[GHOST_ATOM] += 10
    end = sample(denoiser, begin, None, plain_randomness(0, 8), FEW)
    ghosts = ((end.atoms == GHOST_ATOM) & begin.present).any(1)
    assert ghosts[begin.ghosts].all()
    assert not ghosts[~begin.ghosts].any()


def test_closed_atoms_take_no_new_neighbour(make_denoiser: Callable[..., Denoiser]) -> None:
    denoiser, begin = make_denoiser(0), start(1, batch=8)
    begin = begin._replace(bonds=torch.zeros_like(begin.bonds))
    kept = begin.present & ~begin.masked
    new = sample(denoiser, begin, None, plain_randomness(1), FEW).bonds
    assert new[kept[:, :, None] & begin.masked[:, None, :]].any()
    closed = sample(denoiser, begin._replace(closed=kept), None, plain_randomness(1), FEW).bonds
    assert not closed[kept].any()
    assert closed.any()


def test_ghosts_are_gone_from_filled_skeletons(make_denoiser: Callable[..., Denoiser]) -> None:
    parent = Skeleton.blank(9)
    shrinking = replace(parent, shrinks=True)
    options = SamplingOptions(steps=4, temperature=3.0)
    sizes = {
        len(fill(make_denoiser(dtype=torch.float32), [one], [None], Seeded([seed], [9]), options)[0].numbers)
        for one in (shrinking,)
        for seed in range(6)
    }
    assert min(sizes) < 9
    whole = fill(make_denoiser(dtype=torch.float32), [parent], [None], Seeded([0], [9]), options)[0]
    assert len(whole.numbers) == 9
    assert (whole.numbers > 0).all()


@PROPERTY
@given(SEEDS, st.sampled_from([0.4, 1.0, 2.5]))
def test_the_mask_schedule_decides_how_much_is_shown(
    make_denoiser: Callable[..., Denoiser], seed: int, power: float
) -> None:
    """At every step the share of masked tokens that the network sees is 1 - t ** power."""
    denoiser, seen = make_denoiser(), []
    begin = start(seed)._replace(masked=torch.ones(3, 6, dtype=torch.bool), present=torch.ones(3, 6, dtype=torch.bool))

    def watch(module: nn.Module, arguments: tuple[Noisy]) -> None:
        noisy = arguments[0]
        seen.append((float(noisy.times.min()), (noisy.atoms == MASK_ATOM).sum(1).tolist()))

    handle = denoiser.register_forward_pre_hook(watch)
    sample(denoiser, begin, None, plain_randomness(seed), SamplingOptions(steps=8, mask_schedule=power))
    handle.remove()
    assert len(seen) == 8
    for time, masked in seen:
        assert all(abs(count - 6 * (1 - time**power)) < 1 for count in masked)


def test_a_shallow_depth_starts_near_what_was_there(make_denoiser: Callable[..., Denoiser]) -> None:
    begin = start(3)._replace(masked=torch.ones(3, 6, dtype=torch.bool))
    first = []
    denoiser = make_denoiser()
    handle = denoiser.register_forward_pre_hook(lambda module, arguments: first.append(arguments[0]))
    sample(denoiser, begin, None, plain_randomness(0), SamplingOptions(steps=20, depth=0.2))
    handle.remove()
    assert len(first) == 4
    assert float(first[0].times[begin.present].min()) == pytest.approx(0.8)
    visible = first[0].atoms[begin.present] != MASK_ATOM
    assert 0.4 < float(visible.double().mean()) <= 1
    assert torch.equal(first[0].atoms[begin.present][visible], begin.atoms[begin.present][visible])
    assert (first[0].coordinates - begin.coordinates)[begin.present].abs().mean() < 0.6


def test_same_seed_same_molecules(make_denoiser: Callable[..., Denoiser]) -> None:
    denoiser = make_denoiser(dtype=torch.float32)
    skeletons = [Skeleton.blank(5), Skeleton.blank(7)]
    one, two, three = (
        fill(denoiser, skeletons, [{"gap_ev": 5.0}] * 2, Seeded([seed, 7], [5, 7]), FEW) for seed in (1, 1, 2)
    )
    assert all((a.coordinates == b.coordinates).all() for a, b in zip(one, two, strict=True))
    assert not np.allclose(one[0].coordinates, three[0].coordinates)


def test_guidance_changes_the_outcome(make_denoiser: Callable[..., Denoiser]) -> None:
    denoiser = make_denoiser(dtype=torch.float32)
    low, high, free = (
        fill(denoiser, [Skeleton.blank(6)], [target], Seeded([0], [6]), FEW)[0]
        for target in ({"gap_ev": 2.0}, {"gap_ev": 12.0}, {})
    )
    assert not np.allclose(low.coordinates, high.coordinates)
    assert not np.allclose(low.coordinates, free.coordinates)


def test_network_sees_no_position(make_denoiser: Callable[..., Denoiser]) -> None:
    skeleton = Skeleton.blank(4)
    skeleton.numbers[:3] = [6, 6, 8]
    skeleton.coordinates[:3] = np.random.default_rng(0).normal(size=(3, 3))
    skeleton.unknown[:3] = False
    moved = replace(skeleton, coordinates=skeleton.coordinates + 40.0)
    first = fill(make_denoiser(dtype=torch.float32), [skeleton], [None], Seeded([3], [4]), FEW)[0]
    second = fill(make_denoiser(dtype=torch.float32), [moved], [None], Seeded([3], [4]), FEW)[0]
    assert np.allclose(first.coordinates + 40.0, second.coordinates, atol=1e-3)
    assert (second.coordinates[:3] == moved.coordinates[:3]).all()


def test_padding_of_a_batch_is_marked() -> None:
    tensors = to_tensors([Skeleton.blank(2), Skeleton.blank(4)], [np.zeros(3)] * 2, VOCABULARY)
    assert tensors.present.tolist() == [[True, True, False, False], [True] * 4]
    assert (tensors.masked == tensors.present).all()


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.4, 1.0])
def test_patches_are_connected_and_of_the_wanted_size(fraction: float) -> None:
    chain = np.eye(9, k=1, dtype=int) + np.eye(9, k=-1, dtype=int)
    for seed in range(20):
        masked = masks.patch(chain, fraction, np.random.default_rng(seed))
        places = np.flatnonzero(masked)
        assert len(places) == (0 if fraction == 0 else max(1, round(9 * fraction)))
        assert len(places) == 0 or places.max() - places.min() == len(places) - 1
