"""QM9 as one compact safetensors file, made once out of the PyPI package ``qm9pack``.

Ramakrishnan et al., Sci. Data 1, 140022 (2014): 130,831 molecules of up to nine heavy atoms C N O F with geometries and
properties at B3LYP/6-31G(2df,p). Only numpy and safetensors are needed to read it.
"""

import csv
import fcntl
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from gapsmith.core.chemistry.elements import NUMBERS
from gapsmith.core.errors import DataError
from gapsmith.core.paths import cache
from gapsmith.core.units import HARTREE_TO_EV

VERSION = 1
SOURCE = {  # files of the package, and their SHA-256: whatever else is installed under its name is not QM9
    "qm9_part1.csv": "19f0a5d595462d52cd82eef3370f3e9eb55a1f52cb14985657200349568deff3",
    "qm9_part2.csv": "2bca113fdc0b28a13563c80ed9b240e934f3da6c64c64fe74ddb4f0f36036e61",
    "qm9_part3.csv": "9c5efb5733d2af149db8d95d36ff198b4ffed12d9f7b344220a1e5877d5c6a43",
}
LEVEL = "B3LYP/6-31G(2df,p)"  # of all its properties
COORDINATE_STEP_ANGSTROM = 5e-4  # coordinates are centred and stored as multiples of this in int16
COLUMNS = {  # property: (column of the source, factor)
    "homo_ev": ("HOMO_au", HARTREE_TO_EV),
    "lumo_ev": ("LUMO_au", HARTREE_TO_EV),
    "gap_ev": ("HOMO_LUMO_gap_au", HARTREE_TO_EV),
    "dipole_debye": ("Dipole_debye", 1.0),
    "polarizability_bohr3": ("Polarizability_bohr3", 1.0),
    "zpve_ev": ("ZPVE_au", HARTREE_TO_EV),
    "u0_hartree": ("InternalEnergy_0K_au", 1.0),
}
SPLIT_SEED = 20140806
TRAIN, VALIDATION = 110_000, 10_000
EDM_TRAIN = 100_000


@dataclass(frozen=True)
class QM9:
    """All molecules, atoms concatenated."""

    offsets: np.ndarray  # (molecules + 1,) int64: atoms of molecule i are offsets[i]:offsets[i + 1]
    numbers: np.ndarray  # (all atoms,) uint8, atomic numbers
    coordinates: np.ndarray  # (all atoms, 3) float32, angstrom, each molecule centred
    mulliken_e: np.ndarray  # (all atoms,) float16, elementary charges
    properties: dict[str, np.ndarray]  # name with unit -> (molecules,) float64
    index: np.ndarray  # (molecules,) int32: number in the original archive

    def __len__(self) -> int:
        """Number of molecules."""
        return len(self.index)

    def atoms(self, molecule: int) -> slice:
        """Where a molecule's atoms are."""
        return slice(int(self.offsets[molecule]), int(self.offsets[molecule + 1]))


def path() -> Path:
    """Where the compact file is cached."""
    return cache() / f"qm9-{VERSION}.safetensors"


def load(file: Path | None = None) -> QM9:
    """QM9, prepared first if need be (about a minute, once); raises DataError if the source is missing."""
    where = file or prepare()
    with safe_open(str(where), framework="numpy") as tensors:
        raw = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
    return QM9(
        offsets=np.concatenate([[0], np.cumsum(raw["sizes"], dtype=np.int64)]),
        numbers=raw["numbers"],
        coordinates=raw["coordinates"].astype(np.float32) * np.float32(COORDINATE_STEP_ANGSTROM),
        mulliken_e=raw["mulliken_e"],
        properties={name: raw[name] for name in COLUMNS},
        index=raw["index"],
    )


def split(molecules: int) -> dict[str, np.ndarray]:
    """Fixed train / validation / test indices: 110,000 / 10,000 / the rest."""
    order = np.random.Generator(np.random.PCG64(SPLIT_SEED)).permutation(molecules)
    return {
        "train": order[:TRAIN],
        "validation": order[TRAIN : TRAIN + VALIDATION],
        "test": order[TRAIN + VALIDATION :],
    }


def edm_halves(molecules: int) -> dict[str, np.ndarray]:
    """The split on which conditional generators are compared: ``first`` and ``second`` half, ``validation``, ``test``.

    Generators learn from ``second``, the network that judges them from ``first``. Rebuilt from the published procedure
    (Hoogeboom et al., EDM, ICML 2022, and its code): a permutation of seed 0 for the sets, one of seed 42 for the halves.
    """
    order = np.random.RandomState(0).permutation(molecules)
    train, test = order[:EDM_TRAIN], molecules - molecules // 10
    halves = np.array_split(train[np.random.RandomState(42).permutation(len(train))], 2)
    return {"first": halves[0], "second": halves[1], "validation": order[EDM_TRAIN:test], "test": order[test:]}


def split_hash(indices: np.ndarray) -> str:
    """SHA-256 of a split's indices as little-endian int64."""
    return hashlib.sha256(indices.astype("<i8").tobytes()).hexdigest()


def identifiers() -> Path:
    """Text file with the InChI of every molecule, in order, one a line."""
    prepare()
    return path().with_suffix(".inchi.txt")


def prepare() -> Path:
    """Make the compact file unless it is there; processes that ask at once wait for the first."""
    target = path()
    if target.is_file() and target.with_suffix(".inchi.txt").is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (target.is_file() and target.with_suffix(".inchi.txt").is_file()):
            _build(target)
    return target


def _build(target: Path) -> None:
    sizes: list[int] = []
    numbers: list[int] = []
    coordinates: list[np.ndarray] = []
    charges: list[float] = []
    index: list[int] = []
    inchi: list[str] = []
    properties: dict[str, list[float]] = {name: [] for name in COLUMNS}
    for row in _rows():
        elements = row["Elements"].strip("[]").replace("'", "").split(",")
        xyz = _floats(row["XYZ_Ang"]).reshape(-1, 3)
        sizes.append(len(elements))
        numbers.extend(NUMBERS[element] for element in elements)
        coordinates.append(xyz - xyz.mean(axis=0))
        charges.extend(_floats(row["Mulliken_pop"]))
        index.append(int(row["Index"]))
        inchi.append(row["InChi"])
        for name, (column, factor) in COLUMNS.items():
            properties[name].append(float(row[column]) * factor)
    tensors: dict[str, Any] = {
        "sizes": np.array(sizes, dtype=np.uint8),
        "numbers": np.array(numbers, dtype=np.uint8),
        "coordinates": np.round(np.concatenate(coordinates) / COORDINATE_STEP_ANGSTROM).astype(np.int16),
        "mulliken_e": np.array(charges, dtype=np.float16),
        "index": np.array(index, dtype=np.int32),
        **{name: np.array(values) for name, values in properties.items()},
    }
    partial = target.with_suffix(".partial")
    try:
        target.with_suffix(".inchi.txt").write_text("\n".join(inchi) + "\n")  # counts only beside the other file
        save_file(tensors, str(partial), metadata={"source": "qm9pack", "version": str(VERSION)})
        partial.chmod(0o644)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _floats(text: str) -> np.ndarray:
    """Numbers of a (nested) list, flat; the source writes some as ``3.``, which is not JSON."""
    return np.array(text.replace("[", "").replace("]", "").split(","), dtype=np.float64)


def _rows() -> Iterator[dict[str, str]]:
    csv.field_size_limit(10_000_000)
    for part, digest in SOURCE.items():
        try:  # the package's own code needs pkg_resources, which is gone; its files are all we want
            file = Path(str(distribution("qm9pack").locate_file(f"qm9pack/data/{part}")))
            with file.open("rb") as content:
                found = hashlib.file_digest(content, "sha256").hexdigest()
        except (PackageNotFoundError, FileNotFoundError) as error:
            raise DataError(f"QM9's file {part} is missing; install its package: pip install qm9pack") from error
        if found != digest:
            raise DataError(
                f"{file} is not QM9's file: its SHA-256 is {found}, not {digest}; install qm9pack 1.0.3 again"
            )
        with file.open(newline="") as text:
            yield from csv.DictReader(text)
