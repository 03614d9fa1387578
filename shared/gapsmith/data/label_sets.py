"""Label sets: molecules at GFN2-xTB geometries, GFN2's electronic structure and DFT labels, in shards that are only added.

A set is a folder with ``manifest.json`` and two kinds of shards, numpy's ``.npz`` without pickles: ``molecules`` (geometry
and GFN2 record) and ``labels`` (one level of theory). A label belongs to a molecule by InChIKey and geometry hash. Geometries
are stored as multiples of 0.5 mÅ in int16, and everything was computed at the stored geometry. Pair data such as bond orders
are not stored: a single point of 10 to 100 ms gives them back (``core.electronic``).
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from gapsmith.core import documents
from gapsmith.core.errors import DataError, InputError
from gapsmith.data.qm9 import COORDINATE_STEP_ANGSTROM

FORMAT: Final = 1
MOST_MANIFEST: Final = 100_000_000  # characters
MANIFEST: Final = "manifest.json"
LEAST_MEDIAN_GAP_EV, MOST_MEDIAN_GAP_EV = 0.1, 20.0  # outside, the unit is not eV
SAME_EV: Final = 1e-3  # two labels of one molecule that differ by more contradict each other
Columns = dict[str, np.ndarray]

MOLECULES: Final[Mapping[str, str]] = {  # column: dtype as stored
    "inchikeys": "S27",
    "smiles": "u1",  # UTF-8, one a line
    "sizes": "<u2",  # atoms of each molecule
    "bond_counts": "<u2",
    "numbers": "u1",  # (all atoms,)
    "coordinates": "<i2",  # (all atoms, 3), multiples of COORDINATE_STEP_ANGSTROM
    "formal_charges": "i1",
    "bonds": "u1",  # (all bonds, 3): atom, atom (of the molecule), order; kekulised
    "wanted_gap_ev": "<f4",  # what the generator was asked for; NaN of other pools
    "gfn2_energy_hartree": "<f8",
    "gfn2_orbital_energies_ev": "<f4",  # (molecules, 6): HOMO-2 to LUMO+2
    "gfn2_dipole_debye": "<f4",  # (molecules, 3)
    "gfn2_charges_e": "<f2",  # (all atoms,)
    "gfn2_homo_populations": "<f2",
    "gfn2_lumo_populations": "<f2",
    "gfn2_cpu_s": "<f4",
}
LABELS: Final[Mapping[str, str]] = {
    "inchikeys": "S27",
    "geometries": "S16",
    "sizes": "<u2",  # entries of mulliken_e; 0 of a calculation that failed
    "homo_ev": "<f8",
    "lumo_ev": "<f8",
    "energy_hartree": "<f8",
    "dipole_debye": "<f4",
    "mulliken_e": "<f2",
    "cpu_s": "<f4",
    "rungs": "u1",  # of the SCF ladder, one a line
    "failures": "u1",  # class and reason, one a line; empty of what was computed
}
KINDS: Final = {"molecules": MOLECULES, "labels": LABELS}


@dataclass(frozen=True)
class DftLabels:
    """One level's labels in the order of the set's molecules; NaN where a molecule has none."""

    level: Mapping[str, Any]  # its keys, as in levels.yaml
    homo_ev: np.ndarray  # (molecules,)
    lumo_ev: np.ndarray  # (molecules,)
    energy_hartree: np.ndarray  # (molecules,)
    dipole_debye: np.ndarray  # (molecules,)
    cpu_s: np.ndarray  # (molecules,)
    mulliken_e: np.ndarray  # (all atoms,)
    failures: Mapping[int, str]  # molecule: why

    @property
    def gap_ev(self) -> np.ndarray:
        """Gaps, (molecules,)."""
        return np.asarray(self.lumo_ev - self.homo_ev)

    @property
    def there(self) -> np.ndarray:
        """Which molecules have a label, (molecules,) bool."""
        return np.asarray(np.isfinite(self.gap_ev))


@dataclass(frozen=True)
class LabelSet:
    """All molecules of a set, atoms concatenated."""

    manifest: Mapping[str, Any]
    inchikeys: np.ndarray  # (molecules,) S27
    geometries: np.ndarray  # (molecules,) S16, hashes
    smiles: list[str]
    offsets: np.ndarray  # (molecules + 1,) int64
    bond_offsets: np.ndarray  # (molecules + 1,) int64
    columns: Columns  # the other columns of MOLECULES; coordinates in angstrom, float32
    labels: Mapping[str, DftLabels]  # by version of the level of theory

    def __len__(self) -> int:
        """Number of molecules."""
        return len(self.smiles)

    def atoms(self, molecule: int) -> slice:
        """Where a molecule's atoms are."""
        return slice(int(self.offsets[molecule]), int(self.offsets[molecule + 1]))

    def bonds(self, molecule: int) -> np.ndarray:
        """A molecule's bonds, (bonds, 3) int16."""
        found = self.columns["bonds"][self.bond_offsets[molecule] : self.bond_offsets[molecule + 1]]
        return found.astype(np.int16)

    def of_level(self, name: str) -> DftLabels | None:
        """Labels of the level of that name; if its definition was changed, those of the newest definition."""
        found = [one for one in self.labels.values() if one.level["name"] == name]
        return found[-1] if found else None


def in_steps(coordinates: np.ndarray) -> np.ndarray:
    """A geometry (atoms, 3) in angstrom as it is stored, centred, int16; raises DataError if it is too large."""
    centred = np.asarray(coordinates, dtype=np.float64)
    steps = np.round((centred - centred.mean(axis=0)) / COORDINATE_STEP_ANGSTROM)
    if not np.isfinite(steps).all() or np.abs(steps).max() > np.iinfo(np.int16).max:
        raise DataError(f"a geometry of {np.abs(centred).max():.1f} angstrom from its centre is too large to be stored")
    return np.asarray(steps, dtype="<i2")


def in_angstrom(steps: np.ndarray) -> np.ndarray:
    """A stored geometry in angstrom, float64."""
    return np.asarray(steps, dtype=np.float64) * COORDINATE_STEP_ANGSTROM


def geometry_hash(numbers: np.ndarray, steps: np.ndarray) -> str:
    """Which geometry it is; 16 hexadecimal digits over atomic numbers and stored coordinates."""
    digest = hashlib.sha256(np.ascontiguousarray(numbers, dtype="u1").tobytes())
    digest.update(np.ascontiguousarray(steps, dtype="<i2").tobytes())
    return digest.hexdigest()[:16]


def as_text(lines: list[str]) -> np.ndarray:
    """Lines as a column of UTF-8."""
    return np.frombuffer("\n".join(line.replace("\n", " ") for line in lines).encode(), dtype="u1")


def as_lines(column: np.ndarray, count: int) -> list[str]:
    """Lines of such a column; raises DataError if there are not ``count``."""
    lines = column.tobytes().decode().split("\n") if count else []
    if len(lines) != count:
        raise DataError(f"a text column has {len(lines)} lines for {count} rows")
    return lines


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a set; raises DataError if it is missing, damaged or of another format."""
    path = folder / MANIFEST
    try:
        manifest = documents.value(path.read_text(), MANIFEST, most=MOST_MANIFEST)
    except (OSError, UnicodeDecodeError, InputError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise DataError(f"{path} is not the manifest of a label set of format {FORMAT}")
    return manifest


def read_shard(path: Path, sha256: str, kind: str) -> Columns:
    """One shard's columns; raises DataError if it is missing, altered or incomplete."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; the manifest lists it") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(f"{path} was altered: its SHA-256 is {found}, the manifest has {sha256}")
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        columns = {name: archive[name] for name in archive.files}
    for name, dtype in KINDS[kind].items():
        if name not in columns or columns[name].dtype != np.dtype(dtype):
            raise DataError(f"{path} has no column {name} of type {dtype}")
    return columns


def load(folder: Path) -> LabelSet:
    """Read and check a whole set.

    Raises:
        DataError: a shard is missing or altered, a molecule or label occurs twice with different values, a label has no
            molecule, or gaps are not in eV.
    """
    manifest = read_manifest(folder)
    shards = [(one, read_shard(folder / one["file"], one["sha256"], one["kind"])) for one in manifest["shards"]]
    parts = [columns for one, columns in shards if one["kind"] == "molecules"]
    joined = _joined(parts, MOLECULES)
    smiles = [line for part in parts for line in as_lines(part["smiles"], len(part["sizes"]))]
    offsets = np.concatenate([[0], np.cumsum(joined["sizes"], dtype=np.int64)])
    hashes = [
        geometry_hash(joined["numbers"][start:stop], joined["coordinates"][start:stop])
        for start, stop in pairwise(offsets)
    ]
    geometries = np.array(hashes, dtype="S16")
    place = {
        key: index for index, key in enumerate(zip(joined["inchikeys"].tolist(), geometries.tolist(), strict=True))
    }
    if len(place) < len(smiles):
        raise DataError(f"{folder}: {len(smiles) - len(place)} molecules are stored twice at the same geometry")
    labels = {}
    for version, level in manifest["levels"].items():
        of_level = [columns for one, columns in shards if one["kind"] == "labels" and one["level"] == version]
        labels[version] = _labels(folder, level, _joined(of_level, LABELS), of_level, place, offsets)
    joined["coordinates"] = in_angstrom(joined["coordinates"]).astype(np.float32)
    bond_offsets = np.concatenate([[0], np.cumsum(joined["bond_counts"], dtype=np.int64)])
    return LabelSet(manifest, joined.pop("inchikeys"), geometries, smiles, offsets, bond_offsets, joined, labels)


def _joined(parts: list[Columns], columns: Mapping[str, str]) -> Columns:
    if not parts:
        wide = {"coordinates": (0, 3), "bonds": (0, 3), "gfn2_orbital_energies_ev": (0, 6), "gfn2_dipole_debye": (0, 3)}
        return {name: np.zeros(wide.get(name, (0,)), dtype) for name, dtype in columns.items()}
    return {name: np.concatenate([part[name] for part in parts]) for name in columns}


def _labels(
    folder: Path,
    level: Mapping[str, Any],
    rows: Columns,
    parts: list[Columns],
    place: Mapping[tuple[bytes, bytes], int],
    offsets: np.ndarray,
) -> DftLabels:
    """Labels of one level, put at their molecules."""
    where = f"{folder}, level {level['name']}"
    found = {
        name: np.full(len(offsets) - 1, np.nan)
        for name in ("homo_ev", "lumo_ev", "energy_hartree", "dipole_debye", "cpu_s")
    }
    mulliken, failures = np.full(int(offsets[-1]), np.nan), {}
    reasons = [line for part in parts for line in as_lines(part["failures"], len(part["sizes"]))]
    starts = np.concatenate([[0], np.cumsum(rows["sizes"], dtype=np.int64)])
    for row, key in enumerate(zip(rows["inchikeys"].tolist(), rows["geometries"].tolist(), strict=True)):
        if key not in place:
            raise DataError(
                f"{where}: the label of {key[0].decode()} has no molecule at its geometry {key[1].decode()}"
            )
        at = place[key]
        if reasons[row]:
            failures[at] = reasons[row]
            continue
        gap = rows["lumo_ev"][row] - rows["homo_ev"][row]
        before = found["lumo_ev"][at] - found["homo_ev"][at]
        if abs(gap - before) > SAME_EV:  # False for NaN
            raise DataError(f"{where}: {key[0].decode()} has two labels, {before:.4f} and {gap:.4f} eV")
        for name, column in found.items():
            column[at] = rows[name][row]
        mulliken[offsets[at] : offsets[at + 1]] = rows["mulliken_e"][starts[row] : starts[row + 1]]
    gaps = found["lumo_ev"] - found["homo_ev"]
    if np.isfinite(gaps).any() and not LEAST_MEDIAN_GAP_EV <= float(np.nanmedian(gaps)) <= MOST_MEDIAN_GAP_EV:
        raise DataError(
            f"{where}: the median gap is {np.nanmedian(gaps):.3g}; in eV it lies between {LEAST_MEDIAN_GAP_EV} and "
            f"{MOST_MEDIAN_GAP_EV:g}"
        )
    return DftLabels(level=level, mulliken_e=mulliken, failures=failures, **found)
