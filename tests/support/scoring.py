"""Candidates for the surrogate's service, models for it, and what it says."""

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from model_cards import card as card_of
from rdkit import Chem
from rdkit.Chem import AllChem

from gapsmith.core.chemistry.conversion import from_rdkit
from gapsmith.core.chemistry.identity import identify
from gapsmith.core.domain import Molecule
from gapsmith.core.messages import CandidatesProposed, CandidatesScored, ModelPromoted
from gapsmith.store import candidates, models
from gapsmith.store.database import Database
from gapsmith.surrogate import ROLE
from gapsmith.surrogate.service import SurrogateService


def embedded(smiles: str, noise: float = 0.05) -> Molecule:
    """A rough geometry as a generator would give it."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    molecule = from_rdkit(mol)
    shaken = molecule.coordinates + np.random.default_rng(0).normal(0, noise, molecule.coordinates.shape)
    return Molecule(molecule.numbers, shaken, molecule.charges, molecule.bonds)


def propose(database: Database, campaign_id: UUID, molecules: list[tuple[str, Molecule]]) -> tuple[UUID, ...]:
    """Candidates as the generator writes them."""
    ids = []
    with database.transaction() as connection:
        generator = models.ensure_shipped(connection, Path("/nowhere"), card_of("generator", "0"))
        for smiles, molecule in molecules:
            known = identify(Chem.AddHs(Chem.MolFromSmiles(smiles)))
            ids.append(candidates.propose(connection, campaign_id, molecule, known, model_id=generator, in_qm9=True)[0])
    return tuple(ids)


def ask(service: SurrogateService, campaign_id: UUID, ids: tuple[UUID, ...]) -> None:
    """Deliver the event."""
    event = CandidatesProposed(campaign_id=campaign_id, candidate_ids=ids, sampled=len(ids), refused={})
    with service.database.transaction() as connection:
        service.on_proposed(connection, uuid4(), event)


def rows(database: Database, sql: str) -> list[dict[str, Any]]:
    with database.transaction() as connection:
        return connection.execute(sql).fetchall()


def told(database: Database) -> list[CandidatesScored]:
    """What the service emitted."""
    found = rows(database, "SELECT envelope->'data' AS data FROM outbox WHERE type LIKE '%scored%' ORDER BY sequence")
    return [CandidatesScored.model_validate(row["data"]) for row in found]


def register(service: SurrogateService, weights: Path, card: dict[str, Any], parent: UUID) -> UUID:
    """Make weights the live model as the trainer does, and deliver the event."""
    model_id = uuid4()
    with service.database.transaction() as connection:
        models.add(connection, model_id, card, parent_id=parent, path=weights, metrics={}, labels=1, campaign_id=None)
        models.promote(connection, model_id, "better", source="trainer")
        service.on_promoted(connection, uuid4(), ModelPromoted(role=ROLE, model_id=model_id))
    return model_id
