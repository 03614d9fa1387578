"""Whole trajectories: symmetric, faithful to what is kept, repeatable."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gapsmith.generator import masks
from gapsmith.generator.filling import fill, to_tensors
from gapsmith.generator.molecule import Skeleton
from gapsmith.generator.sampling import SamplingOptions, Seeded, Start, sample
from gapsmith.generator.vocabulary import MASK_ATOM, MASK_BOND, MASK_CHARGE

PROPERTY = settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
SEEDS = st.integers(0, 2**31 - 1)
FEW = SamplingOptions(steps=6, guidance=2.0)


class Matched:
    """A seed's randomness, turned by a matrix and with the atoms in another order."""

    def __init__(self, seed: int, matrix: torch.Tensor, order: torch.Tensor) -> None:
        self.seeded, self.matrix, self.order = Seeded(seed), matrix, order

    def normal(self, shape: tuple[int, ...]) -> torch.Tensor:
        return (self.seeded.normal(shape).double() @ self.matrix.T)[:, self.order]

    def gumbel(self, shape: tuple[int, ...]) -> torch.Tensor:
        return self.seeded.gumbel(shape).double()[:, self.order]

    def pair_gumbel(self, shape: tuple[int, ...]) -> torch.Tensor:
        return self.seeded.pair_gumbel(shape).double()[:, self.order][:, :, self.order]


def plain_randomness(seed: int) -> Matched:
    return Matched(seed, torch.eye(3, dtype=torch.float64), torch.arange(6))


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
    )


@PROPERTY
@given(SEEDS, SEEDS)
def test_trajectory_turns_and_mirrors_with_its_noise(make_denoiser, seed, turn):
    denoiser, begin, gap = make_denoiser(seed % 5), start(seed), torch.full((3,), 5.0, dtype=torch.float64)
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
def test_trajectory_does_not_know_the_order_of_atoms(make_denoiser, seed, permutation):
    denoiser, begin, gap = make_denoiser(seed % 5), start(seed), torch.full((3,), 5.0, dtype=torch.float64)
    p, eye = torch.tensor(permutation), torch.eye(3, dtype=torch.float64)
    plain = sample(denoiser, begin, gap, plain_randomness(seed), FEW)
    shuffled = Start(*(t[:, p] if i != 2 else t[:, p][:, :, p] for i, t in enumerate(begin)))
    other = sample(denoiser, shuffled, gap, Matched(seed, eye, p), FEW)
    assert torch.allclose(plain.coordinates[:, p], other.coordinates, atol=1e-7)
    assert torch.equal(plain.atoms[:, p], other.atoms)
    assert torch.equal(plain.bonds[:, p][:, :, p], other.bonds)


@PROPERTY
@given(SEEDS)
def test_kept_atoms_and_bonds_stay_to_the_bit_and_nothing_stays_masked(make_denoiser, seed):
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


def test_only_wanted_elements_appear(make_denoiser):
    begin = start(1, batch=8)._replace(masked=torch.ones(8, 6, dtype=torch.bool))
    options = SamplingOptions(steps=5, temperature=3.0, elements=(6, 9))
    end = sample(make_denoiser(), begin, None, plain_randomness(0), options)
    assert set(end.atoms[begin.present].tolist()) <= {1, 4}


def test_same_seed_same_molecules(make_denoiser):
    denoiser = make_denoiser(dtype=torch.float32)
    skeletons = [Skeleton.blank(5), Skeleton.blank(7)]
    one, two, three = (fill(denoiser, skeletons, 5.0, Seeded(seed), FEW) for seed in (1, 1, 2))
    assert all((a.coordinates == b.coordinates).all() for a, b in zip(one, two, strict=True))
    assert not np.allclose(one[0].coordinates, three[0].coordinates)


def test_guidance_changes_the_outcome(make_denoiser):
    denoiser = make_denoiser(dtype=torch.float32)
    low, high, free = (fill(denoiser, [Skeleton.blank(6)], gap, Seeded(0), FEW)[0] for gap in (2.0, 12.0, None))
    assert not np.allclose(low.coordinates, high.coordinates)
    assert not np.allclose(low.coordinates, free.coordinates)


def test_network_sees_no_position(make_denoiser):
    skeleton = Skeleton.blank(4)
    skeleton.numbers[:3] = [6, 6, 8]
    skeleton.coordinates[:3] = np.random.default_rng(0).normal(size=(3, 3))
    moved = Skeleton(
        skeleton.numbers, skeleton.coordinates + 40.0, skeleton.charges, skeleton.orders, skeleton.parent_atoms
    )
    first = fill(make_denoiser(dtype=torch.float32), [skeleton], None, Seeded(3), FEW)[0]
    second = fill(make_denoiser(dtype=torch.float32), [moved], None, Seeded(3), FEW)[0]
    assert np.allclose(first.coordinates + 40.0, second.coordinates, atol=1e-3)
    assert (second.coordinates[:3] == moved.coordinates[:3]).all()


def test_padding_of_a_batch_is_marked():
    tensors = to_tensors([Skeleton.blank(2), Skeleton.blank(4)], [np.zeros(3)] * 2)
    assert tensors.present.tolist() == [[True, True, False, False], [True] * 4]
    assert (tensors.masked == tensors.present).all()


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.4, 1.0])
def test_patches_are_connected_and_of_the_wanted_size(fraction):
    chain = np.eye(9, k=1, dtype=int) + np.eye(9, k=-1, dtype=int)
    for seed in range(20):
        masked = masks.patch(chain, fraction, np.random.default_rng(seed))
        places = np.flatnonzero(masked)
        assert len(places) == (0 if fraction == 0 else max(1, round(9 * fraction)))
        assert len(places) == 0 or places.max() - places.min() == len(places) - 1
