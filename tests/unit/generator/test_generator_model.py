"""The generator as its service uses it, with the shipped weights."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_cards import as_role
from vocabularies import VOCABULARY

from gapsmith.core.chemistry.conversion import to_rdkit
from gapsmith.core.chemistry.identity import identify
from gapsmith.core.errors import CheckpointError, InputError
from gapsmith.generator.data import from_geometries
from gapsmith.generator.evaluation.quality import evaluate
from gapsmith.generator.filling import fill
from gapsmith.generator.generator import Generated, Generator
from gapsmith.generator.molecule import GeneratedMolecule, Skeleton
from gapsmith.generator.network import Denoiser, Noisy
from gapsmith.generator.sampling import SamplingOptions
from gapsmith.generator.sizes import Sizes
from gapsmith.training.checkpoint import save_model
from gapsmith.training.protocol import LabelledGeometry

DATA = Path(__file__).parents[2] / "data"
TINY_MEANS = [0.623, 0.514, 0.53, 0.382]  # of its outputs
TINY_RANGE = (3.792, 10.214)
QUICK = SamplingOptions(steps=20)
GAP = {"gap_ev": 5.0}


def formaldehyde(gap_ev: float) -> LabelledGeometry:
    coordinates = np.array([[0, 0, 0], [0, 0, 1.2], [0, 0.94, -0.59], [0, -0.94, -0.59]], dtype=np.float32)
    return LabelledGeometry(np.array([6, 8, 1, 1], dtype=np.uint8), coordinates, {"gap_ev": gap_ev})


@pytest.fixture(scope="module")
def shipped() -> Generator:
    return Generator.load()


@pytest.fixture(scope="module")
def free(shipped: Generator) -> Generated:
    return shipped.sample(32, None, 5, options=QUICK)


@pytest.mark.slow
def test_shipped_weights_make_molecules(free: Generated) -> None:
    quality = evaluate(free.molecules, free.attempts, free.refused)
    assert quality.attempts == 32
    assert quality.valid > 0.8
    assert quality.valid_and_unique > 0.75
    assert quality.bonds_agree > 0.8
    assert quality.atom_stability > 0.9
    assert len(free.molecules) + sum(free.refused.values()) == 32


@pytest.mark.slow
def test_same_seed_same_molecules(shipped: Generator) -> None:
    one, two = (shipped.sample(6, GAP, 2**63 + 1, options=QUICK) for _ in range(2))
    other = shipped.sample(6, GAP, 1, options=QUICK)
    assert all((a.coordinates == b.coordinates).all() for a, b in zip(one.molecules, two.molecules, strict=True))
    assert [identify(to_rdkit(m)).smiles for m in one.molecules] != [
        identify(to_rdkit(m)).smiles for m in other.molecules
    ]


@pytest.mark.slow
def test_nothing_masked_gives_the_parent_back(shipped: Generator, free: Generated) -> None:
    parent = free.molecules[0]
    again = shipped.regrow([parent], 2, 0.0, GAP, 1, options=QUICK)
    assert again.parents == [0, 0]
    for molecule in again.molecules:
        assert sorted(molecule.parent_atoms) == list(range(len(parent)))
        assert (molecule.coordinates == parent.coordinates[molecule.parent_atoms]).all()
        assert identify(to_rdkit(molecule)).inchikey == identify(to_rdkit(parent)).inchikey


@pytest.mark.slow
def test_everything_masked_keeps_nothing(shipped: Generator, free: Generated) -> None:
    grown = shipped.regrow(free.molecules[:2], 4, 1.0, GAP, 1, options=QUICK)
    assert grown.molecules
    assert all((molecule.parent_atoms == -1).all() for molecule in grown.molecules)


@pytest.mark.slow
def test_partly_masked_keeps_the_rest_to_the_bit(shipped: Generator, free: Generated) -> None:
    parents = [molecule for molecule in free.molecules if (molecule.numbers != 1).sum() == 9][:2]
    grown = shipped.regrow(parents, 12, 0.4, None, 3, options=QUICK)
    assert len(grown.molecules) >= 6
    assert set(grown.parents) == {0, 1}
    for molecule, origin in zip(grown.molecules, grown.parents, strict=True):
        assert origin is not None
        kept = molecule.parent_atoms >= 0
        heavy = molecule.numbers != 1
        assert (kept & heavy).sum() == 5
        assert 6 <= heavy.sum() <= 10
        assert (molecule.coordinates[kept] == parents[origin].coordinates[molecule.parent_atoms[kept]]).all()
        assert (molecule.numbers[kept] == parents[origin].numbers[molecule.parent_atoms[kept]]).all()


@pytest.mark.slow
def test_size_and_elements_are_heeded(shipped: Generator) -> None:
    sampled = shipped.sample(8, None, 4, options=QUICK, heavy_atoms=(5, 6), elements=(6, 8))
    assert sampled.molecules
    for molecule in sampled.molecules:
        assert (molecule.numbers != 1).sum() in (5, 6)
        assert set(molecule.numbers.tolist()) <= {1, 6, 8}


@pytest.mark.slow
def test_molecules_do_not_depend_on_the_others_of_their_batch(shipped: Generator) -> None:
    both = shipped.sample(2, [{"gap_ev": 5.0}, {"gap_ev": 8.0}], 3, options=QUICK, heavy_atoms=(7, 7))
    other = shipped.sample(2, [{"gap_ev": 5.0}, {"gap_ev": 4.0}], 3, options=QUICK, heavy_atoms=(7, 7))
    assert np.allclose(both.molecules[0].coordinates, other.molecules[0].coordinates, atol=1e-4)


@pytest.mark.slow
def test_memory_that_runs_out_halves_the_batch(shipped: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure is injected: a batch that is really too large for this machine would take all of it."""
    sizes = []

    def scarce(denoiser: Denoiser, skeletons: list[Skeleton], *rest: Any) -> Any:
        sizes.append(len(skeletons))
        if len(skeletons) > 3:
            raise torch.OutOfMemoryError
        return fill(denoiser, skeletons, *rest)

    generator = Generator.load()
    plain = generator.sample(8, GAP, 2, options=QUICK)
    monkeypatch.setattr("gapsmith.generator.generator.fill", scarce)
    halved = generator.sample(8, GAP, 2, options=QUICK)
    assert sizes == [8, 8, 8, 8, 4, 2, 2, 2, 2]  # of 64, 32, 16, 8, 4, 2 allowed
    assert [identify(to_rdkit(m)).smiles for m in plain.molecules] == [
        identify(to_rdkit(m)).smiles for m in halved.molecules
    ]


@pytest.mark.slow
def test_chosen_atoms_are_replaced_and_no_others(shipped: Generator, free: Generated) -> None:
    parent = free.molecules[0]
    heavy = np.flatnonzero(parent.numbers != 1)
    masked = np.zeros(len(heavy), dtype=bool)
    masked[:2] = True
    grown = shipped.regrow([parent], 4, 1.0, None, 3, options=QUICK, free=[masked])
    assert grown.molecules
    for molecule in grown.molecules:
        kept = set(molecule.parent_atoms.tolist())
        assert set(heavy[2:].tolist()) <= kept
        assert not set(heavy[:2].tolist()) & kept


@pytest.mark.slow
def test_a_polish_stays_nearer_than_a_redraw(shipped: Generator, free: Generated) -> None:
    parents = [m for m in free.molecules if (m.numbers != 1).sum() == 9][:4]
    same = []
    for depth in (0.02, 1.0):
        grown = shipped.regrow(parents, 16, 1.0, None, 3, options=QUICK, depth=depth)
        names = [identify(to_rdkit(parent)).inchikey for parent in parents]
        pairs = zip(grown.molecules, grown.parents, strict=True)
        same.append(sum(p is not None and identify(to_rdkit(m)).inchikey == names[p] for m, p in pairs))
    assert same[0] > 12
    assert same[1] < 4


@pytest.mark.slow
def test_stopping_ends_early(shipped: Generator) -> None:
    sampled = shipped.sample(8, None, 4, options=QUICK, should_stop=lambda: True)
    assert (sampled.molecules, sampled.attempts) == ([], 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g, p: g.sample(1, None, 0, heavy_atoms=(15, 16)), "heavy_atoms"),
        (lambda g, p: g.sample(1, None, 0, elements=(14,)), "elements"),
        (lambda g, p: g.regrow([], 1, 0.5, None, 0), "parent"),
        (lambda g, p: g.regrow([p], 1, 1.5, None, 0), "mask_fraction"),
        (lambda g, p: g.regrow([p], 1, 0.5, None, 0, depth=0.0), "depth"),
        (lambda g, p: g.sample(1, {"colour": 1.0}, 0), "colour.*gap_ev"),
        (lambda g, p: g.sample(2, [{"gap_ev": 1.0}], 0), "1 targets for 2"),
    ],
)
def test_wrong_requests_say_what_is_wrong(
    shipped: Generator, free: Generated, call: Callable[[Generator, GeneratedMolecule], object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        call(shipped, free.molecules[0])


def test_checkpoint_round_trip(
    make_denoiser: Callable[..., Denoiser],
    make_noisy: Callable[..., Noisy],
    small_config: dict[str, Any],
    tmp_path: Path,
) -> None:
    denoiser = make_denoiser(dtype=torch.float32)
    weights = tmp_path / "g.safetensors"
    card = {"sizes": Sizes.of(from_geometries([formaldehyde(5.0)], VOCABULARY), VOCABULARY.names).to_card()}
    save_model(weights, denoiser, **as_role("generator"), config=small_config, card=card, half=True)
    loaded = Generator.load(weights)
    noisy = make_noisy(0)
    noisy = noisy._replace(
        coordinates=noisy.coordinates.float(), times=noisy.times.float(), values=noisy.values.float()
    )
    before, after = denoiser(noisy), loaded.denoiser(noisy)
    assert torch.allclose(before.bonds, after.bonds, atol=0.05, rtol=0.05)
    assert not torch.equal(before.bonds, after.bonds)  # half precision is what was stored
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match="SHA-256"):
        Generator.load(weights)


@pytest.mark.slow
def test_training_needs_no_chemistry_package() -> None:
    heavy = "[m for m in ('rdkit', 'pyscf', 'tblite', 'scipy', 'psycopg', 'kafka') if m in sys.modules]"
    code = f"import sys, gapsmith.generator.trainable; print({heavy})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_checkpoint_of_this_format_stays_readable(make_noisy: Callable[..., Noisy]) -> None:
    """Written once, with random weights: what it computes must not change as long as the format's number stays."""
    tiny = Generator.load(DATA / "generator-tiny.safetensors")
    noisy = make_noisy(0)
    noisy = noisy._replace(
        coordinates=noisy.coordinates.float(), times=noisy.times.float(), values=noisy.values.float()
    )
    with torch.no_grad():
        prediction = tiny.denoiser(noisy)
    assert [round(float(part.double().abs().mean()), 3) for part in prediction] == TINY_MEANS
    assert tiny.range_of("gap_ev") == pytest.approx(TINY_RANGE, abs=1e-3)
