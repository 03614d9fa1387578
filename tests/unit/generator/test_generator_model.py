"""The generator as its service uses it, with the shipped weights."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from gapsmith.core.chemistry import identity, to_rdkit
from gapsmith.core.errors import CheckpointError, InputError
from gapsmith.generator.data import Molecules, SizeTable
from gapsmith.generator.generator import Generator, Sampled
from gapsmith.generator.metrics import Quality
from gapsmith.generator.sampling import SamplingOptions
from gapsmith.training.checkpoint import save_model

QUICK = SamplingOptions(steps=20)


@pytest.fixture(scope="module")
def shipped() -> Generator:
    return Generator.load()


@pytest.fixture(scope="module")
def free(shipped: Generator) -> Sampled:
    return shipped.sample(32, None, 5, options=QUICK)


def test_shipped_weights_make_molecules(free):
    quality = Quality.of(free.molecules, free.attempts, free.refused)
    assert quality.attempts == 32
    assert quality.valid > 0.8
    assert quality.valid_and_unique > 0.75
    assert quality.bonds_agree > 0.8
    assert quality.atom_stability > 0.9
    assert len(free.molecules) + sum(free.refused.values()) == 32


def test_same_seed_same_molecules(shipped):
    one, two = (shipped.sample(6, 5.0, 2**63 + 1, options=QUICK) for _ in range(2))
    other = shipped.sample(6, 5.0, 1, options=QUICK)
    assert all((a.coordinates == b.coordinates).all() for a, b in zip(one.molecules, two.molecules, strict=True))
    assert [identity(to_rdkit(m)).smiles for m in one.molecules] != [
        identity(to_rdkit(m)).smiles for m in other.molecules
    ]


def test_nothing_masked_gives_the_parent_back(shipped, free):
    parent = free.molecules[0]
    again = shipped.regrow([parent], 2, 0.0, 5.0, 1, options=QUICK)
    assert again.parents == [0, 0]
    for molecule in again.molecules:
        assert sorted(molecule.parent_atoms) == list(range(len(parent)))
        assert (molecule.coordinates == parent.coordinates[molecule.parent_atoms]).all()
        assert identity(to_rdkit(molecule)).inchikey == identity(to_rdkit(parent)).inchikey


def test_everything_masked_keeps_nothing(shipped, free):
    grown = shipped.regrow(free.molecules[:2], 4, 1.0, 5.0, 1, options=QUICK)
    assert grown.molecules
    assert all((molecule.parent_atoms == -1).all() for molecule in grown.molecules)


def test_partly_masked_keeps_the_rest_to_the_bit(shipped, free):
    parents = [molecule for molecule in free.molecules if (molecule.numbers != 1).sum() == 9][:2]
    grown = shipped.regrow(parents, 12, 0.4, None, 3, options=QUICK)
    assert len(grown.molecules) >= 6
    assert set(grown.parents) == {0, 1}
    for molecule, origin in zip(grown.molecules, grown.parents, strict=True):
        kept = molecule.parent_atoms >= 0
        heavy = molecule.numbers != 1
        assert (kept & heavy).sum() == 5
        assert heavy.sum() in (8, 9, 10)
        assert (molecule.coordinates[kept] == parents[origin].coordinates[molecule.parent_atoms[kept]]).all()
        assert (molecule.numbers[kept] == parents[origin].numbers[molecule.parent_atoms[kept]]).all()


def test_size_and_elements_are_heeded(shipped):
    sampled = shipped.sample(8, None, 4, options=QUICK, heavy_atoms=(5, 6), elements=(6, 8))
    assert sampled.molecules
    for molecule in sampled.molecules:
        assert (molecule.numbers != 1).sum() in (5, 6)
        assert set(molecule.numbers.tolist()) <= {1, 6, 8}


def test_stopping_ends_early(shipped):
    sampled = shipped.sample(8, None, 4, options=QUICK, should_stop=lambda: True)
    assert (sampled.molecules, sampled.attempts) == ([], 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g, p: g.sample(1, None, 0, heavy_atoms=(15, 16)), "heavy_atoms"),
        (lambda g, p: g.sample(1, None, 0, elements=(14,)), "elements"),
        (lambda g, p: g.regrow([], 1, 0.5, None, 0), "parent"),
        (lambda g, p: g.regrow([p], 1, 1.5, None, 0), "mask_fraction"),
    ],
)
def test_wrong_requests_say_what_is_wrong(shipped, free, call, message):
    with pytest.raises(InputError, match=message):
        call(shipped, free.molecules[0])


def test_checkpoint_round_trip(make_denoiser, make_noisy, small_config, tmp_path):
    denoiser = make_denoiser(dtype=torch.float32)
    weights = tmp_path / "g.safetensors"
    card = {"sizes": {"counts": np.eye(4, 10).tolist(), "low_ev": 0.0, "step_ev": 1.0}}
    save_model(weights, denoiser, kind="generator", config=small_config, card=card, half=True)
    loaded = Generator.load(weights)
    noisy = make_noisy(0)
    noisy = noisy._replace(coordinates=noisy.coordinates.float(), times=noisy.times.float(), gap=noisy.gap.float())
    before, after = denoiser(noisy), loaded.denoiser(noisy)
    assert torch.allclose(before.bonds, after.bonds, atol=0.05, rtol=0.05)
    assert not torch.equal(before.bonds, after.bonds)  # half precision is what was stored
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match="SHA-256"):
        Generator.load(weights)


def test_sizes_follow_the_gap():
    empty = Molecules(*(np.zeros((0,)) for _ in range(5)), gap_ev=np.zeros(0))
    sizes = np.array([3] * 200 + [9] * 200)
    molecules = Molecules(
        sizes, empty.atoms, empty.charges, empty.bonds, empty.coordinates, np.array([10.0] * 200 + [4.0] * 200)
    )
    table = SizeTable.of(molecules)
    random = np.random.default_rng(0)
    assert (table.draw(10.0, 50, random) == 3).all()
    assert (table.draw(4.0, 50, random) == 9).all()
    assert set(table.draw(None, 50, random).tolist()) == {3, 9}
    assert (table.draw(2.0, 50, random) == 9).all()  # nothing is there: the nearest


def test_training_needs_no_chemistry_package():
    heavy = "[m for m in ('rdkit', 'pyscf', 'tblite', 'scipy', 'psycopg', 'kafka') if m in sys.modules]"
    code = f"import sys, gapsmith.generator.train; print({heavy})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
