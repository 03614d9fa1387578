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
from gapsmith.data.sources import SPLITS

VERSION = 2


def _key(inchikey: str) -> int:
    block = inchikey.partition("-")[0]
    return int.from_bytes(hashlib.blake2b(block.encode(), digest_size=8).digest(), "little")


def in_qm9(inchikey: str) -> bool:
    """Whether a molecule is in QM9, by its InChIKey; the first call ever on a machine takes some seconds."""
    return split_of(inchikey) is not None


def split_of(inchikey: str) -> str | None:
    """The split of QM9 that has a molecule; of several, the one that must least be learned from. None: it is not there."""
    keys, splits = _keys()
    key = np.uint64(_key(inchikey))
    first, last = (int(np.searchsorted(keys, key, side)) for side in ("left", "right"))
    return SPLITS[int(splits[first:last].max())] if last > first else None


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
    """Sorted hashes of the connectivity blocks, and places in SPLITS, (2, molecules) uint64, mapped from the cached file."""
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
        keys = np.array([_key(rdinchi.InchiToInchiKey(line.strip())) for line in lines], dtype=np.uint64)
    places = np.zeros(len(keys), np.uint64)
    for place, members in enumerate(qm9.split(len(keys)).values()):
        places[members] = place
    order = np.argsort(keys, kind="stable")
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as stream:
        np.save(stream, np.stack([keys[order], places[order]]))
    partial.replace(path)  # processes that build at once each replace it by the same
