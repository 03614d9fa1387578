"""Which molecules are in QM9, the models' training data: what is not is called novel.

The connectivity block of the standard InChIKey decides (formula, bonds and hydrogens, no stereochemistry), so a
stereoisomer or a mobile-hydrogen tautomer of a molecule in QM9 is not novel.
"""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

import numpy as np

from gapsmith.core.errors import DataError
from gapsmith.core.paths import cache
from gapsmith.data import qm9

VERSION = 1


def _key(inchikey: str) -> int:
    block = inchikey.partition("-")[0]
    return int.from_bytes(hashlib.blake2b(block.encode(), digest_size=8).digest(), "little")


def in_qm9(inchikey: str) -> bool:
    """Whether a molecule is in QM9, by its InChIKey; the first call ever on a machine takes some seconds."""
    keys = _keys()
    key = np.uint64(_key(inchikey))
    place = int(np.searchsorted(keys, key))
    return place < len(keys) and bool(keys[place] == key)


def ready() -> bool:
    """Whether ``in_qm9`` answers at once."""
    return _path().is_file()


def prepare() -> None:
    """Make its file unless it is there; raises DataError if QM9 is missing."""
    _keys()


def _path() -> Path:
    return cache() / f"qm9-known-{VERSION}.npy"


@lru_cache(maxsize=1)
def _keys() -> np.ndarray:
    """Sorted hashes of the connectivity blocks, (connectivities,) uint64, mapped from the cached file."""
    path = _path()
    if not path.is_file():
        _build(path)
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged: delete it, and it is made again ({error})") from error


def _build(path: Path) -> None:
    from rdkit.Chem import rdinchi  # only where the file must be made

    with qm9.identifiers().open() as lines:
        keys = np.array(sorted({_key(rdinchi.InchiToInchiKey(line.strip())) for line in lines}), dtype=np.uint64)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as stream:
        np.save(stream, keys)
    partial.replace(path)  # processes that build at once each replace it by the same
