"""Real molecules in the same measures: the row that generated ones are read beside."""

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from gapsmith.core.chemistry.conversion import NO_BONDS, to_rdkit
from gapsmith.core.chemistry.perception import perceive_bonds
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import DataError, InvalidMolecule
from gapsmith.core.paths import cache
from gapsmith.data import qm9
from gapsmith.generator.evaluation.distributions import Distributions

VERSION = 1
REFERENCE = 4000  # molecules of the reference distributions


@lru_cache(maxsize=1)
def data() -> qm9.QM9:
    """QM9; raises DataError if its source is missing."""
    return qm9.load()


@lru_cache(maxsize=1)
def split() -> dict[str, np.ndarray]:
    """EDM's split of it."""
    return qm9.edm_halves(len(data()))


def molecule(index: int) -> Molecule:
    """A molecule of QM9, its bonds perceived as those of an XYZ file; without bonds if none fit."""
    atoms = data().atoms(index)
    numbers, coordinates = data().numbers[atoms], data().coordinates[atoms].astype(np.float64)
    try:
        return perceive_bonds(numbers, coordinates)
    except InvalidMolecule:
        return Molecule(numbers, coordinates, np.zeros(len(numbers), dtype=np.int8), NO_BONDS)


def molecules(count: int, seed: int) -> list[Molecule]:
    """Random molecules of EDM's validation split: neither the generator nor the reference has them."""
    chosen = np.random.default_rng(seed).permutation(split()["validation"])[:count]
    return [molecule(int(index)) for index in chosen]


def ready() -> bool:
    """Whether ``reference`` answers at once."""
    return _path().is_file()


def _path() -> Path:
    return cache() / f"qm9-distributions-{VERSION}.safetensors"


def reference() -> Distributions:
    """Distributions of molecules of EDM's test split, made once (about half a minute) and kept."""
    path = _path()
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        save_file(_distributions().tensors(), str(partial))
        partial.replace(path)  # processes that make it at once each replace it by the same
    try:
        return Distributions.from_tensors(load_file(str(path)))
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{path} is damaged: delete it, and it is made again ({error})") from error


def _distributions() -> Distributions:
    mols = []
    for index in split()["test"][:REFERENCE]:
        try:
            mols.append(to_rdkit(molecule(int(index))))
        except InvalidMolecule:
            continue  # one without bonds has no kinds of bonds
    return Distributions.of(mols)
