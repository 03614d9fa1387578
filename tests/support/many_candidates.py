"""A database with some hundred candidates of two campaigns, in all states, with predictions and labels by chance."""

import random
from functools import cache
from itertools import product
from uuid import UUID, uuid4

import numpy as np
from model_cards import DOMAIN
from psycopg.types.json import Jsonb
from rdkit import Chem
from states import bring
from values import computed, estimate

from gapsmith.core import properties
from gapsmith.core.campaign import parse_campaign
from gapsmith.core.chemistry.identity import Identity, identify
from gapsmith.core.domain import Molecule
from gapsmith.core.reasons import Reason, ReasonCode
from gapsmith.store import campaigns, candidates
from gapsmith.store.database import Connection, Database

METHANE = Molecule(
    np.array([6, 1, 1, 1, 1], dtype=np.uint8),
    np.array([[0.0, 0.0, 0.0], [0.63, 0.63, 0.63], [-0.63, -0.63, 0.63], [-0.63, 0.63, -0.63], [0.63, -0.63, -0.63]]),
    np.zeros(5, dtype=np.int8),
    np.array([[0, 1, 1], [0, 2, 1], [0, 3, 1], [0, 4, 1]], dtype=np.int16),
)
LEFT = ("C", "N", "O", "F", "CC", "OC", "C=C", "N#C", "O=C")
MIDDLE = ("C", "C(C)", "C(=O)", "C=C", "C#C", "c1ccc(cc1)", "c1ccnc(c1)", "C1CC1", "N(C)", "c1cc[nH]c1", "C[N+](C)(C)")
RIGHT = ("C", "O", "F", "C(N)=O", "C#N", "CC", "[O-]")
MOST = 300  # molecules of a database
FIRST, SECOND = "first", "second"  # campaigns; windows 4.0 ± 0.5 and 6.0 ± 0.5 eV


@cache
def molecules() -> tuple[Identity, ...]:
    """Different molecules, some of them ions by name only: nitrogen oxides and the like are dropped unless neutral."""
    found: dict[str, Identity] = {}
    for parts in product(LEFT, MIDDLE, RIGHT):
        mol = Chem.MolFromSmiles("".join(parts))
        if mol is not None and Chem.GetFormalCharge(mol) == 0:
            one = identify(mol)
            found.setdefault(one.inchikey, one)
    return tuple(found.values())


def add_model(connection: Connection, version: int, state: str) -> UUID:
    """A surrogate in the registry."""
    new = uuid4()
    connection.execute(
        """INSERT INTO models (id, role, architecture, domain, version, state, path, sha256)
               VALUES (%s, 'surrogate', 'equivariant_gnn', %s, %s, %s, '', '')""",
        (new, Jsonb(DOMAIN.as_dict()), version, state),
    )
    return new


def prediction(candidate_id: UUID, gap: float, chance: random.Random, unlike: bool) -> candidates.Prediction:
    """Of the gap, and of frontier orbitals that go with it."""
    homo = round(chance.uniform(-9, -5), 1)
    values = {"gap": gap, "homo": homo, "lumo": homo + gap}
    estimates = {name: estimate(value, chance.uniform(0.05, 0.5)) for name, value in values.items()}
    return candidates.Prediction(candidate_id, properties.predicted(estimates), unlike)


def calculation(connection: Connection, conformer_id: UUID, gap: float | None, chance: random.Random) -> UUID | None:
    """One that is done; None without a gap."""
    if gap is None:
        return None
    new = uuid4()
    homo, dipole = round(chance.uniform(-9, -5), 1), round(chance.uniform(0, 6), 1)
    connection.execute(
        """INSERT INTO calculations (id, content_hash, level, conformer_id, state, gap_ev, homo_ev, lumo_ev, dipole_debye,
                                     properties, started_at, finished_at)
           VALUES (%s, %s, 'triage', %s, 'done', %s, %s, %s, %s, %s, now(), now())""",
        (new, str(new), conformer_id, gap, homo, homo + gap, dipole, computed(gap, homo, dipole_debye=dipole)),
    )
    return new


def add(connection: Connection, campaign_id: UUID, one: Identity, models: list[UUID], chance: random.Random) -> UUID:
    """A candidate somewhere on its way."""
    refused = Reason(ReasonCode.FORBIDDEN_SMARTS, "forbidden_smarts") if chance.random() < 0.1 else None
    candidate_id, is_open = candidates.propose(
        connection, campaign_id, METHANE, one, model_id=models[0], in_qm9=chance.random() < 0.5, refused=refused
    )
    if not is_open or chance.random() < 0.1:
        return candidate_id
    relaxed = candidates.add_conformer(
        connection, METHANE, method="gfn2-xtb", molecule_id=None, properties={"gap": round(chance.uniform(2, 9), 2)}
    )
    gap = round(chance.uniform(3, 8), 1)  # coarse, so that some are equal
    first = prediction(candidate_id, gap, chance, chance.random() < 0.1)
    candidates.score(connection, relaxed, first, models[0])
    for model in models[1:]:
        if chance.random() < 0.5:
            again = prediction(candidate_id, 11.0 - gap, chance, False)
            candidates.predict(connection, [again], model)
    fate = chance.random()
    if fate < 0.4:
        label = round(gap + chance.gauss(0, 0.2), 2)
        certified = round(label + chance.gauss(0, 0.1), 2) if fate < 0.15 else None
        bring(connection, "candidates", candidate_id, "certified" if certified is not None else "labelled")
        triage, certificate = (calculation(connection, relaxed, gap, chance) for gap in (label, certified))
        connection.execute(
            """UPDATE candidates SET triage_id = %s, certificate_id = %s, label_value = %s, certified_value = %s
               WHERE id = %s""",
            (
                triage,
                certificate,
                label,
                certified,
                candidate_id,
            ),
        )
        candidates.judge(connection, campaign_id, [candidate_id])
    elif fate < 0.5:
        bring(connection, "candidates", candidate_id, "failed")
        connection.execute("UPDATE candidates SET reason = 'scf' WHERE id = %s", (candidate_id,))
    return candidate_id


def fill(database: Database, *, seed: int = 1, most: int = MOST) -> None:
    """Store molecules of ``molecules`` as candidates, a third of them in both campaigns."""
    chance = random.Random(seed)
    with database.transaction() as connection:
        ids = [
            campaigns.create(
                connection,
                parse_campaign({"name": name, "target": {"value": value, "tolerance": 0.5}}),
                source="test",
            ).id
            for name, value in ((FIRST, 4.0), (SECOND, 6.0))
        ]
        models = [add_model(connection, 0, "live"), add_model(connection, 1, "rejected")]
    chosen = random.Random(seed).sample(molecules(), most)
    for start in range(0, len(chosen), 20):  # some share their time of creation
        with database.transaction() as connection:
            for number, one in enumerate(chosen[start : start + 20], start):
                for campaign_id in ids if number % 3 == 0 else ids[number % 2 : number % 2 + 1]:
                    add(connection, campaign_id, one, models, chance)
