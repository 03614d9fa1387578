"""A campaign for carbonyls, 4.0 ± 0.1 eV, with one hit by label, one hit by certificate, one miss and three others."""

from uuid import UUID, uuid4

from model_cards import DOMAIN
from psycopg.types.json import Jsonb
from rdkit import Chem
from rdkit.Chem import AllChem
from values import computed, predicted

from gapsmith.core import codec
from gapsmith.core.campaign import parse_campaign
from gapsmith.core.chemistry.conversion import from_rdkit
from gapsmith.core.chemistry.identity import identify
from gapsmith.core.domain import Molecule
from gapsmith.core.lifecycle import CandidateState
from gapsmith.core.messages import CalculationFinished
from gapsmith.store import campaigns, candidates, outbox
from gapsmith.store.database import Connection, Database

LEVEL = "b3lyp/6-31g(2df,p)"
MOLECULES = {  # SMILES: (state, label, certified gap, predicted mean)
    "CC=O": (CandidateState.LABELLED, 4.05, None, 4.2),
    "CCC=O": (CandidateState.CERTIFIED, 4.30, 4.02, 4.1),
    "C=CC=O": (CandidateState.CERTIFIED, 3.95, 3.60, 3.9),
    "CCO": (CandidateState.SCORED, None, None, 7.5),
    "CCN": (CandidateState.FAILED, None, None, 4.0),
    "[O-][N+](=O)CC": (CandidateState.REJECTED, None, None, None),
}


def add(connection: Connection, campaign_id: UUID, smiles: str, models: list[UUID]) -> None:
    """A candidate with all that belongs to its state."""
    state, label, certified, mean = MOLECULES[smiles]
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    molecule, known = from_rdkit(mol), identify(mol)
    row = connection.execute(
        """INSERT INTO molecules (inchikey, smiles, formula, heavy_atoms, sa_score, in_qm9, fingerprint)
           VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id""",
        (known.inchikey, known.smiles, known.formula, known.heavy_atoms, known.sa_score, False, known.fingerprint),
    ).fetchone()
    assert row is not None
    molecule_id = row["id"]

    def conformer(method: str, shift: float) -> UUID:
        moved = Molecule(molecule.numbers, molecule.coordinates + shift, molecule.charges, molecule.bonds)
        new = uuid4()
        connection.execute(
            "INSERT INTO conformers (id, molecule_id, method, numbers, coordinates_angstrom, bonds, charges,"
            " properties) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (new, molecule_id, method, *codec.encode(moved), Jsonb({"gap": 3.0} if method == "gfn2-xtb" else {})),
        )
        return new

    def calculation(gap: float | None, where: UUID, level: str) -> UUID | None:
        if gap is None:
            return None
        new = uuid4()
        connection.execute(
            "INSERT INTO calculations (id, content_hash, level, campaign_id, conformer_id, state, gap_ev, homo_ev, lumo_ev,"
            " properties) VALUES (%s, %s, %s, %s, %s, 'done', %s, -7.0, %s, %s)",
            (new, str(new), level, campaign_id, where, gap, -7.0 + gap, computed(gap)),
        )
        outbox.emit(connection, CalculationFinished(calculation_id=new, state="done"), source="test")
        return new

    generated = conformer("generated", 0.0)
    relaxed = conformer("gfn2-xtb", 1.0) if state is not CandidateState.REJECTED else None
    final = conformer(LEVEL, 2.0) if certified is not None else None
    candidate = uuid4()
    connection.execute(
        """INSERT INTO candidates (id, campaign_id, molecule_id, conformer_id, relaxed_conformer_id,
                                   certified_conformer_id, state, triage_id, certificate_id, label_value, certified_value)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        (
            candidate, campaign_id, molecule_id, generated, relaxed, final, state,
            calculation(label, relaxed or generated, f"triage {LEVEL}"),
            calculation(certified, final or generated, f"certificate {LEVEL}"), label, certified,
        ),
    )  # fmt: skip
    if mean is None:
        return
    for number, model in enumerate(models):
        connection.execute(
            "INSERT INTO predictions (candidate_id, model_id, properties) VALUES (%s, %s, %s)",
            (candidate, model, predicted(mean + number, 0.1 * (1 + number))),
        )


def add_models(connection: Connection) -> list[UUID]:
    """Two surrogates; the older one is live."""
    new = [uuid4(), uuid4()]
    for version, (model, state) in enumerate(zip(new, ("live", "rejected"), strict=True)):
        connection.execute(
            """INSERT INTO models (id, role, architecture, domain, version, state, path, sha256)
               VALUES (%s, 'surrogate', 'equivariant_gnn', %s, %s, %s, '', '')""",
            (model, Jsonb(DOMAIN.as_dict()), version, state),
        )
    return new


def fill(database: Database) -> None:
    """Store what is above."""
    with database.transaction() as connection:
        first = campaigns.create(
            connection, parse_campaign({"name": "carbonyls", "target": {"value": 4.0}}), source="test"
        )
        campaigns.create(connection, parse_campaign({"name": "empty", "target": {"value": 6.0}}), source="test")
        models = add_models(connection)
    for one in MOLECULES:
        with database.transaction() as connection:  # each its own time of creation
            add(connection, first.id, one, models)
    with database.transaction() as connection:
        candidates.judge(connection, first.id)
