"""Molecules of a person's files, each with what to compute or with the reason why it is refused."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from gapsmith.core.calculation import content_hash
from gapsmith.core.chemistry.conversion import to_rdkit
from gapsmith.core.chemistry.elements import SYMBOLS, formula
from gapsmith.core.chemistry.geometry import BROKEN_FACTOR, covalent_radius_angstrom, fragments
from gapsmith.core.chemistry.identity import Identity, identify
from gapsmith.core.chemistry.perception import perceive_bonds
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InputError, InvalidMolecule
from gapsmith.core.levels import GENERATED, LevelOfTheory
from gapsmith.core.reading import FORMATS, Item, read
from gapsmith.dft_queue.engines import find
from gapsmith.dft_queue.jobs import MOST_ATOMS, CalculationInput

QCSCHEMA: Final = ".json"
PIECES: Final = "it is in {} pieces that no bond holds together; --allow-fragments lets such through"
# Bond order at a distance, exp((r1 + r2 - d) / 0.3): Pauling, J. Am. Chem. Soc. 69, 542 (1947).
PAULING_ANGSTROM: Final = 0.3
LEAST_VALENCE: Final = 3.4  # of carbon, by these bond orders: benzene without its hydrogens has 3.1, carbon dioxide 4.8


@dataclass(frozen=True)
class Wish:
    """What a person wants of every molecule."""

    level: LevelOfTheory
    geometry_method: str = GENERATED
    charge: int | None = None  # instead of the file's
    spin: int | None = None
    allow_fragments: bool = False


@dataclass
class Entry:
    """A record of the input."""

    name: str
    smiles: str | None = None
    formula: str | None = None
    molecule: Molecule | None = None
    identity: Identity | None = None
    charge: int = 0
    spin: int = 0
    method: str = GENERATED
    content_hash: str = ""
    refusal: str | None = None


def entries(path: Path, wish: Wish) -> Iterator[Entry]:
    """Every record of a file, in order; raises InputError if the file cannot be read at all."""
    items = _qcschema(path) if path.suffix.lower() == QCSCHEMA else _read(path)
    for item in items:
        yield entry(item, wish)


def _read(path: Path) -> Iterator[Item]:
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path}: the ending {path.suffix!r} is not known; known: {', '.join((*FORMATS, QCSCHEMA))}")
    return read(path, most_atoms=MOST_ATOMS)


def _qcschema(path: Path) -> Iterator[Item]:
    """Molecules of a QCSchema document or a list of such."""
    from gapsmith.dft_queue.qcschema import from_molecule

    try:
        document = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error
    for number, one in enumerate(document if isinstance(document, list) else [document], start=1):
        name = _name(one) or f"{number}"
        if isinstance(one, dict) and one.get("success") is False:
            yield Item(name, None, None, error="it is the record of a calculation that failed")
            continue
        try:
            found = from_molecule(one, f"document {number}")
        except InputError as error:
            yield Item(name, None, None, error=str(error))
            continue
        yield Item(name, None, (found.numbers, found.coordinates), charge=found.charge, spin=found.spin)


def _name(document: Any) -> str | None:
    if not isinstance(document, dict):
        return None
    extras = document.get("extras")
    given = (extras.get("name") if isinstance(extras, dict) else None) or document.get("name") or document.get("id")
    return None if given is None else str(given)


def entry(item: Item, wish: Wish) -> Entry:
    """What to compute for a record, or why not."""
    level = wish.level
    if item.geometry is None:
        return Entry(item.name, item.smiles, refusal=item.error or "it has no geometry")
    numbers, coordinates = item.geometry
    charge = next(value for value in (wish.charge, item.charge, level.charge) if value is not None)
    spin = next(value for value in (wish.spin, item.spin, level.spin) if value is not None)
    method = GENERATED if item.rough else wish.geometry_method
    nothing = np.zeros((0, 3), np.int16), np.zeros(len(numbers), np.int8)
    bonds, charges = nothing if item.graph is None else item.graph
    out = Entry(
        name=item.name,
        smiles=item.smiles,
        formula=formula(numbers.tolist(), charge),
        molecule=Molecule(numbers.astype(np.uint8), coordinates, charges, bonds),
        charge=charge,
        spin=spin,
        method=method,
    )
    out.refusal = _refusal(item, wish, CalculationInput.of(numbers, coordinates, level, charge, spin, method))
    if out.refusal is None:
        _recognise(out, perceive=item.graph is None)
        out.content_hash = content_hash(numbers, coordinates, charge, spin, level, method)
    return out


def _refusal(item: Item, wish: Wish, job: CalculationInput) -> str | None:
    numbers, positions = np.array(job.numbers), job.positions
    if item.missing_hydrogens and not job.spin:
        return f"{item.missing_hydrogens} of its hydrogens have no position; write the file with explicit hydrogens"
    if item.rough and not job.level.relaxation:
        return (
            f"it has no geometry, and level {job.level.name!r} does not relax RDKit's guess; give it in 3D or choose a level "
            "with a relaxation, such as triage"
        )
    bonds = None if item.graph is None else item.graph[0]
    if not wish.allow_fragments and bonds is not None and (pieces := _pieces_bonded(len(numbers), bonds)) > 1:
        return PIECES.format(pieces)
    if reason := job.refusal():
        return reason
    if bonds is None and lacks_hydrogens(numbers, positions):
        return "its hydrogens are missing (no carbon has its valence); write the file with explicit hydrogens"
    if not wish.allow_fragments and bonds is None and (pieces := _pieces(numbers, positions)) > 1:
        return PIECES.format(pieces)
    return find(job.level.engine).refusal(job)


def lacks_hydrogens(numbers: np.ndarray, positions: np.ndarray) -> bool:
    """Whether an organic molecule was obviously written without its hydrogens: none there, and most carbons want some.

    Args:
        numbers: (atoms,) atomic numbers.
        positions: (atoms, 3), angstrom.
    """
    carbon = numbers == SYMBOLS.index("C")
    if len(numbers) < 3 or (numbers == 1).any() or not carbon.any():
        return False
    radii = np.array([covalent_radius_angstrom(int(number)) for number in numbers])
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1) + 1e3 * np.eye(len(numbers))
    orders = np.exp((radii[:, None] + radii[None] - distances) / PAULING_ANGSTROM)
    return bool((orders.sum(1)[carbon] < LEAST_VALENCE).mean() > 0.5)


def _pieces_bonded(atoms: int, bonds: np.ndarray) -> int:
    whole = list(range(atoms))
    for first, second, _ in bonds.tolist():
        old, new = whole[first], whole[second]
        whole = [new if piece == old else piece for piece in whole]
    return len(set(whole))


def _pieces(numbers: np.ndarray, positions: np.ndarray) -> int:
    radii = np.array([covalent_radius_angstrom(int(number)) for number in numbers])
    return fragments(positions, BROKEN_FACTOR * (radii[:, None] + radii[None]))


def _recognise(out: Entry, *, perceive: bool) -> None:
    """Find the bonds, if they are not known, and which molecule it is, if it is neutral and closed-shell."""
    assert out.molecule is not None  # nothing without a geometry comes here
    try:
        if perceive:
            out.molecule = perceive_bonds(out.molecule.numbers, out.molecule.coordinates, out.charge)
        if not out.spin:
            out.identity = identify(to_rdkit(out.molecule))
    except InvalidMolecule:
        return
    out.smiles = out.smiles or (out.identity.smiles if out.identity else None)
