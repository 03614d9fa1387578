"""Small denoisers with random weights, and molecules to feed them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from vocabularies import VOCABULARY

from gapsmith.generator import network
from gapsmith.generator.data import Batch
from gapsmith.generator.network import Denoiser, Noisy
from gapsmith.generator.vocabulary import BOND_TOKENS

SMALL = {**network.default_config(), "layers": 2, "width": 24, "pair_width": 16, "heads": 3, "condition_width": 12}


@pytest.fixture
def small_config() -> dict[str, Any]:
    return dict(SMALL)


@pytest.fixture
def make_denoiser() -> Callable[..., Denoiser]:
    """A small denoiser whose every weight is random: fresh ones have outputs of zero, which hide mistakes."""

    def make(seed: int = 0, dtype: torch.dtype = torch.float64) -> Denoiser:
        torch.manual_seed(seed)
        denoiser = network.build(SMALL).to(dtype).eval()
        with torch.no_grad():
            for parameter in denoiser.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.15)
        return denoiser

    return make


@pytest.fixture
def make_noisy() -> Callable[..., Noisy]:
    """Random noisy molecules, the second one padded, the last with kept atoms."""

    def make(seed: int, batch: int = 3, atoms: int = 6) -> Noisy:
        generator = torch.Generator().manual_seed(seed)
        bonds = torch.triu(torch.randint(BOND_TOKENS, (batch, atoms, atoms), generator=generator), 1)
        times = torch.rand(batch, 1, generator=generator, dtype=torch.float64).expand(batch, atoms).clone()
        times[-1, : atoms // 2] = 1.0
        present = torch.ones(batch, atoms, dtype=torch.bool)
        present[1, -2:] = False
        return Noisy(
            torch.randint(VOCABULARY.mask_atom + 1, (batch, atoms), generator=generator),
            torch.randint(VOCABULARY.mask_charge + 1, (batch, atoms), generator=generator),
            bonds + bonds.transpose(1, 2),
            torch.randn(batch, atoms, 3, generator=generator, dtype=torch.float64),
            times,
            present,
            torch.randn(batch, len(VOCABULARY.names), generator=generator, dtype=torch.float64),
            torch.tensor([[True] * 5, [False] * 5, [True, False, False, True, False]])[:batch],
        )

    return make


@pytest.fixture
def butanes() -> Batch:
    """Chains C-C-C=O of four heavy atoms, each turned differently."""
    base = np.array([[0, 0, 0], [1.5, 0, 0], [2.0, 1.4, 0], [1.3, 2.4, 0]], dtype=np.float32)
    batch = 8
    turns = np.linalg.qr(np.random.default_rng(0).normal(size=(batch, 3, 3)))[0].astype(np.float32)
    orders = torch.zeros(batch, 4, 4, dtype=torch.int64)
    for left, right, order in ((0, 1, 1), (1, 2, 1), (2, 3, 2)):
        orders[:, left, right] = orders[:, right, left] = order
    return Batch(
        torch.tensor([1, 1, 1, 3]).repeat(batch, 1),
        torch.ones(batch, 4, dtype=torch.int64),
        orders,
        torch.from_numpy(base @ turns),
        torch.ones(batch, 4, dtype=torch.bool),
        torch.full((batch, len(VOCABULARY.names)), 6.0),
        torch.ones(batch, len(VOCABULARY.names), dtype=torch.bool),
    )
