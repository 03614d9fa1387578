"""The denoiser knows no direction, no position, no order of atoms."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vocabularies import VOCABULARY

from gapsmith.core.errors import InputError
from gapsmith.generator import network
from gapsmith.generator.network import Denoiser, Noisy, Prediction

PROPERTY = settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
SEEDS = st.integers(0, 2**31 - 1)


def orthogonal(seed: int) -> torch.Tensor:
    """A rotation or a reflection, (3, 3)."""
    return torch.from_numpy(np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0])


def near(left: torch.Tensor, right: torch.Tensor) -> bool:
    return torch.allclose(left, right, atol=1e-8, rtol=1e-7)


@PROPERTY
@given(SEEDS, SEEDS)
def test_turns_mirrors_and_shifts_with_the_molecule(
    make_denoiser: Callable[..., Denoiser], make_noisy: Callable[..., Noisy], seed: int, turn: int
) -> None:
    denoiser, noisy = make_denoiser(seed % 5), make_noisy(seed)
    matrix, shift = orthogonal(turn), torch.randn(3, 1, 3, dtype=torch.float64) * 5

    def moved(x: torch.Tensor) -> torch.Tensor:
        return x @ matrix.T + shift

    plain = denoiser(noisy)
    plain = denoiser(noisy, plain.detached())
    other_noisy = noisy._replace(coordinates=moved(noisy.coordinates))
    other = denoiser(other_noisy)
    other = denoiser(other_noisy, other.detached())
    assert (plain.coordinates - noisy.coordinates).abs().max() > 1e-3  # it does move something
    present = noisy.present
    assert near(moved(plain.coordinates)[present], other.coordinates[present])
    assert near(plain.atoms[present], other.atoms[present])
    assert near(plain.charges[present], other.charges[present])
    pairs = present[:, :, None] & present[:, None, :]
    assert near(plain.bonds[pairs], other.bonds[pairs])


@PROPERTY
@given(SEEDS, st.permutations(range(6)))
def test_order_of_atoms_goes_through(
    make_denoiser: Callable[..., Denoiser], make_noisy: Callable[..., Noisy], seed: int, permutation: list[int]
) -> None:
    denoiser, noisy = make_denoiser(seed % 5), make_noisy(seed)
    p = torch.tensor(permutation)
    other = denoiser(
        Noisy(
            noisy.atoms[:, p],
            noisy.charges[:, p],
            noisy.bonds[:, p][:, :, p],
            noisy.coordinates[:, p],
            noisy.times[:, p],
            noisy.present[:, p],
            noisy.values,
            noisy.known,
        )
    )
    plain = denoiser(noisy)
    assert near(plain.coordinates[:, p], other.coordinates)
    assert near(plain.atoms[:, p], other.atoms)
    assert near(plain.charges[:, p], other.charges)
    assert near(plain.bonds[:, p][:, :, p], other.bonds)


def test_padding_changes_nothing(make_denoiser: Callable[..., Denoiser], make_noisy: Callable[..., Noisy]) -> None:
    denoiser, noisy = make_denoiser(), make_noisy(1)
    wide = denoiser(noisy)
    garbage = noisy._replace(
        coordinates=torch.where(noisy.present[..., None], noisy.coordinates, 0.37),
        atoms=torch.where(noisy.present, noisy.atoms, 2),
    )
    other = denoiser(garbage)
    assert near(wide.coordinates[noisy.present], other.coordinates[noisy.present])
    assert near(wide.atoms[noisy.present], other.atoms[noisy.present])


def test_kept_atoms_stay_to_the_bit(make_denoiser: Callable[..., Denoiser], make_noisy: Callable[..., Noisy]) -> None:
    noisy = make_noisy(3)
    prediction = make_denoiser()(noisy)
    kept = (noisy.times == 1) | ~noisy.present
    assert torch.equal(prediction.coordinates[kept], noisy.coordinates[kept])
    assert not torch.equal(prediction.coordinates[~kept], noisy.coordinates[~kept])


@pytest.mark.parametrize("column", range(len(VOCABULARY.names)))
def test_a_property_is_seen_only_when_allowed(
    make_denoiser: Callable[..., Denoiser], make_noisy: Callable[..., Noisy], column: int
) -> None:
    denoiser, noisy = make_denoiser(), make_noisy(4)
    changed = noisy.values.clone()
    changed[:, column] += 1
    plain, other = denoiser(noisy), denoiser(noisy._replace(values=changed))
    differs = (plain.atoms - other.atoms).abs().flatten(1).amax(1) > 1e-9
    assert differs.tolist() == noisy.known[:, column].tolist()


def test_a_network_may_know_other_elements_charges_and_properties(
    small_config: dict[str, Any], make_noisy: Callable[..., Noisy]
) -> None:
    other = {**small_config, "elements": ["H", "C", "Si", "P", "S", "Cl"], "charges": [0, 1], "most_atoms": 40}
    other["properties"] = [{"name": "lumo_ev", "mean": 0.3, "deviation": 1.3}]
    torch.manual_seed(0)
    denoiser = network.build(other).double()
    for parameter in denoiser.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.15)
    vocabulary, noisy = denoiser.vocabulary, make_noisy(4, atoms=36)
    noisy = noisy._replace(charges=noisy.charges.clamp(max=vocabulary.mask_charge))
    noisy = noisy._replace(values=noisy.values[:, :1], known=torch.ones(3, 1, dtype=torch.bool))
    before = denoiser(noisy)
    assert before.atoms.shape == (3, 36, 7)  # six elements and a ghost
    assert before.charges.shape == (3, 36, 2)
    assert not torch.equal(before.atoms, denoiser(noisy._replace(values=noisy.values + 1)).atoms)
    assert vocabulary.token_of_number[[14, 17, 8]].tolist() == [2, 5, vocabulary.ghost_atom]
    assert vocabulary.charges_of(vocabulary.charge_tokens(np.array([1, 0]))).tolist() == [1, 0]


def test_bond_logits_are_symmetric(make_denoiser: Callable[..., Denoiser], make_noisy: Callable[..., Noisy]) -> None:
    prediction = make_denoiser()(make_noisy(5))
    assert near(prediction.bonds, prediction.bonds.transpose(1, 2))


def test_detached_prediction_holds_probabilities(
    make_denoiser: Callable[..., Denoiser], make_noisy: Callable[..., Noisy]
) -> None:
    before = make_denoiser()(make_noisy(6)).detached()
    assert isinstance(before, Prediction)
    for part in (before.atoms, before.charges, before.bonds):
        assert torch.allclose(part.sum(-1), torch.ones_like(part.sum(-1)))
        assert not part.requires_grad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 3}, "depth"),
        ({"layers": None}, "layers"),
        ({"elements": ["C", "Sj"]}, "'Sj' is not the symbol"),
        ({"charges": [1]}, "include 0"),
        ({"properties": [{"name": "gap_ev"}]}, "mean"),
    ],
)
def test_configuration_is_checked(change: dict[str, Any], message: str) -> None:
    config = network.default_config()
    for key, value in change.items():
        if value is None:
            del config[key]
        else:
            config[key] = value
    with pytest.raises(InputError, match=message):
        network.build(config)


def test_coordinates_are_exact_in_mixed_precision(
    make_denoiser: Callable[..., Denoiser], make_noisy: Callable[..., Noisy]
) -> None:
    denoiser, noisy = make_denoiser(dtype=torch.float32), make_noisy(7)
    noisy = noisy._replace(
        coordinates=noisy.coordinates.float(), times=noisy.times.float(), values=noisy.values.float()
    )
    far = noisy._replace(coordinates=noisy.coordinates + 30.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        here, there = denoiser(noisy), denoiser(far)
    assert here.atoms.dtype == torch.bfloat16
    assert here.coordinates.dtype == torch.float32
    assert torch.allclose(here.coordinates[noisy.present] + 30.0, there.coordinates[noisy.present], atol=0.02)
