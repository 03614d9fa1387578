"""DFT labels of a set's molecules through the product's own queue: what the database knows is not computed again."""

import time
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from gapsmith.core.calculation import content_hash
from gapsmith.core.chemistry.conversion import to_rdkit
from gapsmith.core.chemistry.identity import identify
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import FailureClass
from gapsmith.core.levels import GFN2, LevelOfTheory
from gapsmith.core.lifecycle import CalculationState
from gapsmith.data.known import in_qm9
from gapsmith.factory.shards import Key, Label, LabelSetWriter
from gapsmith.store import calculations, candidates, jobs
from gapsmith.store.calculations import Ended
from gapsmith.store.database import Connection, Database

TOGETHER: Final = 50  # labels of one shard
LOOK_EVERY_S: Final = 2.0
SOURCE: Final = "data"


class Labelling:
    """Asks for labels of a set and stores them in shards as they come.

    Args:
        writer: of the set.
        database: Postgres.
        level: of theory.
    """

    def __init__(self, writer: LabelSetWriter, database: Database, level: LevelOfTheory) -> None:
        self._writer, self._database, self._level = writer, database, level
        self._waiting: dict[UUID, Key] = {}
        self._ended: list[Label] = []
        self._software: dict[str, str] = {}
        self.asked: set[Key] = set()
        self.stored = 0
        self.undecided = 0  # ended without a label for a reason that is not the molecule's

    @property
    def open(self) -> int:
        """How many of what was asked for are not in a shard yet."""
        return len(self._waiting) + len(self._ended)

    def ask(self, molecules: Sequence[tuple[Key, Molecule]]) -> None:
        """Queue molecules; raises UnavailableError, and then none of these is queued."""
        asked: dict[UUID, Key] = {}
        with self._database.transaction() as connection:
            hashes = {
                content_hash(molecule.numbers, molecule.coordinates, 0, 0, self._level, GFN2): (key, molecule)
                for key, molecule in molecules
            }
            known = calculations.conformers(connection, list(hashes))
            for content in sorted(hashes):  # everyone locks rows in this order
                key, molecule = hashes[content]
                found = calculations.request(
                    connection,
                    content_hash=content,
                    level=self._level,
                    conformer_id=known.get(content) or _conformer(connection, molecule),
                    campaign_id=None,
                    source=SOURCE,
                )
                asked[found.id] = key
            jobs.adopt(connection, list(asked))
        self._waiting |= asked
        self.asked.update(asked.values())

    def wait(self, stopped: Callable[[], bool], tell: Callable[[int, int], None], *, until_left: int = 0) -> None:
        """Wait until at most ``until_left`` calculations have not ended, or ``stopped``; shards are written on the way.

        Args:
            stopped: asked often.
            tell: told the number of labels and of calculations that have not ended.
            until_left: how many may be left in the queue.
        """
        while True:
            self._collect()
            tell(self.stored + len(self._ended), len(self._waiting))
            if len(self._waiting) <= until_left or stopped():
                return
            time.sleep(LOOK_EVERY_S)

    def flush(self) -> None:
        """Write the labels that are not in a shard yet."""
        if self._ended:
            self._writer.add_labels(self._level, self._ended, self._software)
            self.stored += len(self._ended)
            self._ended = []

    def _collect(self) -> None:
        with self._database.transaction() as connection:
            ended = calculations.ended(connection, list(self._waiting))
        for one in ended:
            key = self._waiting.pop(one.id)
            if one.state == CalculationState.DONE or one.failure_class == FailureClass.CHEMISTRY:
                self._ended.append(_label(key, one))
                self._software |= one.software or {}
            else:  # cancelled, lost, or more than its limits: that says nothing about the molecule
                self.undecided += 1
        if len(self._ended) >= TOGETHER:
            self.flush()


def _conformer(connection: Connection, molecule: Molecule) -> UUID:
    known = identify(to_rdkit(molecule))
    molecule_id = candidates.add_molecule(connection, known, in_qm9=in_qm9(known.inchikey))
    return candidates.add_conformer(connection, molecule, method=GFN2, molecule_id=molecule_id)


def _label(key: Key, outcome: Ended) -> Label:
    inchikey, geometry = key
    if outcome.homo_ev is None or outcome.lumo_ev is None or outcome.energy_hartree is None:
        return Label(inchikey, geometry, failure=f"{outcome.failure_class}: {outcome.failure_reason}")
    return Label(
        inchikey,
        geometry,
        homo_ev=outcome.homo_ev,
        lumo_ev=outcome.lumo_ev,
        energy_hartree=outcome.energy_hartree,
        dipole_debye=float("nan") if outcome.dipole_debye is None else outcome.dipole_debye,
        mulliken_e=outcome.mulliken_e or (),
        cpu_s=outcome.cpu_s or 0.0,
        rung=outcome.rung or "",
    )
