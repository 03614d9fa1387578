"""From drafts to rows of a label set: relaxed with GFN2-xTB, still the same molecule, with its electronic structure."""

import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from gapsmith.core.chemistry.conversion import to_rdkit
from gapsmith.core.chemistry.geometry import same_connectivity
from gapsmith.core.chemistry.identity import identify
from gapsmith.core.domain import Molecule
from gapsmith.core.electronic import ElectronicStructure, electronic_structure
from gapsmith.core.errors import CalculationError, DataError, InvalidMolecule
from gapsmith.core.xtb import relax
from gapsmith.data.excluded import is_excluded
from gapsmith.data.known import in_qm9
from gapsmith.data.label_sets import geometry_hash, in_angstrom, in_steps
from gapsmith.factory import pools
from gapsmith.factory.pools import Draft


@dataclass(frozen=True)
class Made:
    """A molecule at its GFN2-xTB geometry, as it is stored."""

    inchikey: str
    smiles: str
    molecule: Molecule  # coordinates as stored
    steps: np.ndarray  # (atoms, 3) int16
    wanted_gap_ev: float
    electronic: ElectronicStructure
    cpu_s: float

    @property
    def geometry(self) -> str:
        """Hash of the geometry."""
        return geometry_hash(self.molecule.numbers, self.steps)


@dataclass
class Chunk:
    """What came of one chunk of a pool."""

    number: int
    made: list[Made] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    cpu_s: float = 0.0  # with what was refused, and with the generator
    exhausted: bool = False  # the pool has no such chunk


def make_chunk(pool: str, number: int, seed: int, known: frozenset[str] = frozenset()) -> Chunk:
    """Make one chunk's molecules.

    Args:
        pool: name of the pool.
        number: of the chunk.
        seed: of the pool.
        known: InChIKeys that the set has already.
    """
    began = time.process_time()
    source = pools.find(pool)
    drafts = source.chunk(number, seed)
    out = Chunk(number, exhausted=drafts is None)
    seen = set(known)
    for draft in drafts or ():
        try:
            one = make(draft, seen, novel=source.novel)
        except InvalidMolecule as error:
            out.refused[error.reason] += 1
        except CalculationError as error:
            out.refused[f"GFN2-xTB: {error.reason.partition(':')[0]}"[:60]] += 1
        except DataError:
            out.refused["too large"] += 1
        else:
            seen.add(one.inchikey)
            out.made.append(one)
    out.cpu_s = time.process_time() - began
    return out


def make(draft: Draft, seen: set[str], *, novel: bool) -> Made:
    """Relax one molecule and compute its electronic structure.

    Raises:
        InvalidMolecule: it is not a closed-shell neutral molecule in one piece, is held out, known, or rearranges.
        CalculationError: GFN2-xTB fails.
        DataError: it is too large to be stored.
    """
    began = time.process_time()
    known = identify(to_rdkit(draft.molecule))
    if known.inchikey in seen:
        raise InvalidMolecule("duplicate", f"{known.smiles} is there already")
    if is_excluded(known.inchikey):
        raise InvalidMolecule("held out", f"{known.smiles} is held out")
    if novel and in_qm9(known.inchikey):
        raise InvalidMolecule("in QM9", f"{known.smiles} is in QM9")
    numbers = np.asarray(draft.molecule.numbers, dtype=np.uint8)
    relaxed = relax(numbers, draft.molecule.coordinates)
    if not same_connectivity(draft.molecule, relaxed.coordinates):
        raise InvalidMolecule("rearranged", f"{known.smiles} rearranges in its relaxation")
    steps = in_steps(relaxed.coordinates)
    molecule = Molecule(numbers, in_angstrom(steps), draft.molecule.charges, draft.molecule.bonds)
    found = electronic_structure(numbers, molecule.coordinates)
    return Made(known.inchikey, known.smiles, molecule, steps, draft.wanted_gap_ev, found, time.process_time() - began)
