"""The corruption leaves alone what it must, and the loss can be learned."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sampled import examples
from vocabularies import GHOST_ATOM, MASK_ATOM, VOCABULARY

from gapsmith.generator import diffusion, network
from gapsmith.generator.data import Batch, MoleculeSource, from_geometries
from gapsmith.generator.network import LENGTH_UNIT_ANGSTROM, Denoiser, Prediction
from gapsmith.generator.trainable import GeneratorTrainable
from gapsmith.generator.vocabulary import MASK_BOND
from gapsmith.training.protocol import LabelledGeometry

SEEDS = st.integers(0, 2**31 - 1)


def test_kept_atoms_are_untouched(butanes: Batch) -> None:
    seen = 0
    for seed in range(20):
        torch.manual_seed(seed)
        corrupted = diffusion.corrupt(butanes, VOCABULARY)
        noisy, kept = corrupted.noisy, butanes.present & ~corrupted.masked
        seen += int(kept.sum())
        assert (noisy.times[kept] == 1).all()
        assert (noisy.times[corrupted.masked] < 1).all()
        assert torch.equal(noisy.atoms[kept], butanes.atoms[kept])
        assert torch.equal(noisy.coordinates[kept], corrupted.coordinates[kept])
        both = kept[:, :, None] & kept[:, None, :]
        assert torch.equal(noisy.bonds[both], butanes.bonds[both])
        assert torch.equal(noisy.bonds, noisy.bonds.transpose(1, 2))
        inner = (butanes.coordinates[:, 0] - butanes.coordinates[:, 3]).norm(dim=-1) / LENGTH_UNIT_ANGSTROM
        assert torch.allclose(
            (corrupted.coordinates[:, 0] - corrupted.coordinates[:, 3]).norm(dim=-1), inner, atol=1e-5
        )
        for molecule in torch.nonzero(kept.any(1))[:, 0]:
            assert corrupted.coordinates[molecule, kept[molecule]].mean(0).abs().max() < 1e-5
    assert seen > 50


def test_masking_follows_time(butanes: Batch) -> None:
    torch.manual_seed(0)
    shares = []
    for _ in range(150):
        corrupted = diffusion.corrupt(butanes, VOCABULARY)
        whole = corrupted.masked.all(1)
        hidden = (corrupted.noisy.atoms == MASK_ATOM).float().mean(1)[whole]
        shares += list(zip(corrupted.noisy.times[whole, 0].tolist(), hidden.tolist(), strict=True))
        assert (corrupted.noisy.bonds <= MASK_BOND).all()
    times, hidden = np.array(shares).T
    for low, high in ((0.0, 0.5), (0.5, 0.8), (0.8, 1.0)):
        inside = (times >= low) & (times < high)
        powers = 2 ** np.linspace(-1, 1, 101)  # the share that is shown is the time to a random power
        expected = 1 - (times[inside][:, None] ** powers).mean()
        assert hidden[inside].mean() == pytest.approx(expected, abs=0.05)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SEEDS)
def test_ghosts_are_masked_stay_where_they_are_and_bond_to_nothing(butanes: Batch, seed: int) -> None:
    torch.manual_seed(seed)
    batch = diffusion.add_ghosts(butanes, VOCABULARY)
    ghost = batch.atoms == GHOST_ATOM
    assert torch.equal(batch.present.sum(1) - 4, ghost.sum(1))
    assert not (ghost & ~batch.present).any()
    assert (batch.bonds[ghost] == 0).all()
    corrupted = diffusion.corrupt(batch, VOCABULARY)
    assert corrupted.masked[ghost].all()
    assert torch.allclose(corrupted.noisy.coordinates[ghost], corrupted.coordinates[ghost], atol=1e-6)
    bonded = (batch.coordinates[:, 1] - batch.coordinates[:, 0]).norm(dim=-1) / LENGTH_UNIT_ANGSTROM
    after = (corrupted.coordinates[:, 1] - corrupted.coordinates[:, 0]).norm(dim=-1)
    assert torch.allclose(bonded, after, atol=1e-5)


def test_properties_are_hidden_often_enough_to_do_without_them() -> None:
    torch.manual_seed(0)
    known = torch.ones(20_000, 5, dtype=torch.bool)
    known[:, 4] = False
    seen = diffusion.reveal_properties(known)
    assert not seen[:, 4].any()
    none = ~seen.any(1)
    assert 0.1 < float(none.float().mean()) < 0.15
    assert float((seen[:, 0] & ~seen[:, 1:].any(1)).float().mean()) > 0.45  # the gap alone
    assert float(seen.sum(1).ge(2).float().mean()) > 0.2  # several at once


@settings(deadline=None, max_examples=examples(30))
@given(SEEDS)
def test_partial_masks_are_never_empty_nor_padded(seed: int) -> None:
    torch.manual_seed(seed)
    present = torch.ones(16, 9, dtype=torch.bool)
    present[::2, 5:] = False
    masks = diffusion.partial_masks(torch.randn(16, 9, 3), present)
    assert masks.any(1).all()
    assert not (masks & ~present).any()


@settings(deadline=None, max_examples=examples(30))
@given(SEEDS)
def test_matching_turns_and_exchanges_noise_but_keeps_it(seed: int) -> None:
    torch.manual_seed(seed)
    noise, data = torch.randn(4, 7, 3), torch.randn(4, 7, 3)
    noise, data = noise - noise.mean(1, keepdim=True), data - data.mean(1, keepdim=True)
    masked = torch.ones(4, 7, dtype=torch.bool)
    masked[2:, :3] = False
    turn = torch.tensor([True, True, False, False])
    matched = diffusion.match(noise, data, masked, turn)
    before = ((noise - data) ** 2).sum((1, 2))
    assert (((matched - data) ** 2).sum((1, 2)) <= before + 1e-4).all()
    assert torch.allclose(matched.norm(dim=-1).sort(1).values, noise.norm(dim=-1).sort(1).values, atol=1e-4)
    assert torch.equal(matched[2:, :3], noise[2:, :3])
    left = torch.cdist(matched, matched).flatten(1).sort(1).values
    assert torch.allclose(left, torch.cdist(noise, noise).flatten(1).sort(1).values, atol=1e-3)


def test_perfect_prediction_costs_nothing(butanes: Batch) -> None:
    torch.manual_seed(0)
    corrupted = diffusion.corrupt(butanes, VOCABULARY)

    def certain(tokens: torch.Tensor, kinds: int) -> torch.Tensor:
        return torch.nn.functional.one_hot(tokens, kinds).float() * 50

    perfect = Prediction(
        corrupted.coordinates, certain(butanes.atoms, 6), certain(butanes.charges, 3), certain(butanes.bonds, 4)
    )
    losses = diffusion.compare(perfect, butanes, corrupted)
    assert float(losses["loss"]) == pytest.approx(0, abs=1e-3)
    wrong = perfect._replace(coordinates=corrupted.coordinates + torch.tensor([1.0, 0, 0]))
    worse = diffusion.compare(wrong, butanes, corrupted)
    assert float(worse["coordinates"]) == pytest.approx(float(corrupted.weight.mean()), rel=1e-4)
    assert float(worse["lengths"]) == pytest.approx(0, abs=1e-3)


@pytest.mark.slow
def test_a_molecule_can_be_learned_by_heart(butanes: Batch, small_config: dict[str, Any]) -> None:
    torch.manual_seed(0)
    denoiser = network.build(small_config)
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=1e-2)
    history = []
    for _ in range(60):
        optimizer.zero_grad()
        losses = diffusion.losses(denoiser, butanes)
        losses["loss"].backward()  # type: ignore[no-untyped-call]  # torch has no type here
        torch.nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0)
        optimizer.step()
        history.append(float(losses["bonds"].detach()))
    assert np.mean(history[-10:]) < 0.25 * np.mean(history[:5])


def formaldehyde(gap_ev: float) -> LabelledGeometry:
    coordinates = np.array([[0, 0, 0], [0, 0, 1.2], [0, 0.94, -0.59], [0, -0.94, -0.59]], dtype=np.float32)
    return LabelledGeometry(np.array([6, 8, 1, 1], dtype=np.uint8), coordinates, {"gap_ev": gap_ev})


def test_labelled_geometries_become_heavy_atom_tokens() -> None:
    water = LabelledGeometry(np.array([8], dtype=np.uint8), np.zeros((1, 3), dtype=np.float32), {"gap_ev": 8.0})
    molecules = from_geometries([formaldehyde(5.9), water], VOCABULARY)  # a bare oxygen atom has no valences that fit
    assert molecules.sizes.tolist() == [2]
    batch = molecules.batch(np.array([0]))
    assert batch.atoms.tolist() == [[1, 3]]
    assert batch.bonds.tolist() == [[[0, 2], [2, 0]]]
    assert float(batch.values[0, 0]) == pytest.approx(5.9)
    assert batch.known.tolist() == [[True, False, False, False, False]]
    assert float((batch.coordinates[0, 0] - batch.coordinates[0, 1]).norm()) == pytest.approx(1.2, abs=1e-5)


def test_batches_are_a_function_of_the_step_and_ranks_share_them() -> None:
    molecules = from_geometries([formaldehyde(5 + 0.01 * i) for i in range(40)], VOCABULARY)
    one = MoleculeSource(molecules, batch_size=6, seed=3, device="cpu")
    other = MoleculeSource(molecules, batch_size=6, seed=3, device="cpu")
    for step in (70, 0, 3, 70):
        whole = one.batch(step).values[:, 0]
        shares = torch.cat([other.batch(step, rank=rank, size=2).values[:, 0] for rank in (0, 1)])
        assert sorted(whole.tolist()) == sorted(shares.tolist())
    assert one.batch(1).values.tolist() != one.batch(2).values.tolist()
    seen = torch.cat([one.batch(step).values[:, 0] for step in range(64)])
    counts = torch.unique(seen, return_counts=True)[1]
    assert len(counts) == 40
    assert counts.max() - counts.min() <= 1


def test_replay_fills_its_share_of_a_batch() -> None:
    new, old = from_geometries([formaldehyde(1.0)], VOCABULARY), from_geometries([formaldehyde(9.0)] * 5, VOCABULARY)
    source = MoleculeSource(new, batch_size=8, seed=0, device="cpu", replay=old, replay_fraction=0.75)
    assert sorted(source.batch(0).values[:, 0].tolist()) == [1.0] * 2 + [9.0] * 6


def test_evaluation_is_repeatable(make_denoiser: Callable[..., Denoiser]) -> None:
    trainable, denoiser = GeneratorTrainable(), make_denoiser(dtype=torch.float32)
    labels = [formaldehyde(5.9)] * 4
    first = trainable.evaluate_labels(denoiser, labels)
    torch.manual_seed(99)
    assert trainable.evaluate_labels(denoiser, labels) == first
    assert {"loss", "bonds_loss", "coordinates_loss"} <= first.keys()
    state = torch.get_rng_state()
    trainable.evaluate_labels(denoiser, labels[:1])
    assert torch.equal(torch.get_rng_state(), state)


def test_labels_whose_bonds_cannot_be_told_are_left_out(make_denoiser: Callable[..., Denoiser]) -> None:
    trainable, denoiser = GeneratorTrainable(), make_denoiser(dtype=torch.float32)
    bare = LabelledGeometry(np.array([8], dtype=np.uint8), np.zeros((1, 3), dtype=np.float32), {"gap_ev": 8.0})
    assert trainable.evaluate_labels(denoiser, [bare]) == {}
    alone = trainable.evaluate_labels(denoiser, [formaldehyde(5.9)])
    assert trainable.evaluate_labels(denoiser, [bare, formaldehyde(5.9)]) == alone


def test_a_labels_loss_is_told_from_its_noise(make_denoiser: Callable[..., Denoiser]) -> None:
    """Two models are compared with the same noise: what they differ by is not the draw."""
    trainable, denoiser = GeneratorTrainable(), make_denoiser(dtype=torch.float32)
    label = [formaldehyde(5.9)]
    losses = {}
    for scale in (0.0, 1e-4, 0.3):
        moved = make_denoiser(dtype=torch.float32)
        with torch.no_grad():
            for own, parameter in zip(denoiser.parameters(), moved.parameters(), strict=True):
                parameter.copy_(own * (1 + scale))
        losses[scale] = trainable.evaluate_labels(moved, label)["loss"]
    assert losses[0.0] == trainable.evaluate_labels(denoiser, label)["loss"]
    assert abs(losses[1e-4] - losses[0.0]) < 0.02 * abs(losses[0.3] - losses[0.0])
