"""A dashboard that serves on loopback, and a campaign in its database, as fixtures."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import httpx
import pytest
from api_application import PATIENT
from model_cards import ARCHITECTURES, DOMAIN
from psycopg.types.json import Jsonb
from rdkit import Chem
from rdkit.Chem import AllChem
from states import bring
from values import computed, estimate

from gapsmith.core.campaign import parse_campaign
from gapsmith.core.chemistry.conversion import from_rdkit
from gapsmith.core.chemistry.identity import identify
from gapsmith.core.messages import CalculationFinished, CandidatesProposed, CandidatesScored
from gapsmith.core.reasons import Reason, ReasonCode
from gapsmith.core.settings import Settings
from gapsmith.dashboard.api.limits import Limits
from gapsmith.dashboard.app import create_app
from gapsmith.dashboard.context import Context
from gapsmith.dashboard.service import listen, server_of, url_of
from gapsmith.dashboard.settings import DashboardSettings
from gapsmith.store import campaigns, candidates, models, outbox, requests, tokens
from gapsmith.store.candidates import Prediction
from gapsmith.store.database import Connection, Database

NAME = "four-ev"
LABELS = {"CC=O": 4.05, "CCC=O": 3.98, "C=CC=O": 3.60, "O=Cc1ccco1": 4.60}  # DFT gap, eV; the first two are hits
CERTIFIED = {"CCC=O": 4.02}
WAITING = ("CCO", "CCN", "c1ccncc1")
REFUSED = {"CC(=O)OO": Reason(ReasonCode.FORBIDDEN_SMARTS, "forbidden_smarts")}


@dataclass(frozen=True)
class Site:
    """A running dashboard."""

    url: str
    database: Database

    def client(self) -> httpx.Client:
        """A browser without a screen."""
        return httpx.Client(base_url=self.url, timeout=120.0, follow_redirects=True)

    def key(self) -> str:
        """A one-time key of a new operator."""
        with self.database.transaction() as connection:
            token = tokens.create(connection, f"operator {uuid4()}", tokens.Role.OPERATOR)
            return tokens.one_time_key(connection, token)

    @contextmanager
    def operator(self) -> Iterator[httpx.Client]:
        """The same, signed in as an operator."""
        with self.client() as client:
            assert client.get("/sign-in", params={"key": self.key()}).url.path == "/"
            yield client


@contextmanager
def serving(
    database: Database, settings: Settings, own: DashboardSettings | None = None, limits: Limits = PATIENT
) -> Iterator[Site]:
    """Serve the whole application on a free port."""
    own = own or DashboardSettings(port=0)
    with listen(own.host, 0) as listener:
        app = create_app(Context(database, settings, own), limits)
        server = server_of(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 120
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.02)
        assert server.started
        try:
            yield Site(url_of(listener), database)
        finally:
            server.should_exit = True
            app.state.site.hub.stop()
            thread.join(120)


def campaign(connection: Connection, name: str = NAME, value: float = 4.0) -> UUID:
    """A campaign with a label for each of ``LABELS``; the surrogate was off by 0.1 eV."""
    config = {"name": name, "target": {"value": value, "tolerance": 0.1}, "budget": {"dft_jobs": 8, "wanted_hits": 2}}
    created = campaigns.create(connection, parse_campaign(config), source="test")
    surrogate, generator = model(connection, "surrogate"), model(connection, "generator")
    ids: dict[str, UUID] = {}
    for smiles in (*LABELS, *WAITING, *REFUSED):
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        AllChem.EmbedMolecule(mol, randomSeed=1)
        molecule, known = from_rdkit(mol), identify(mol)
        parent = ids.get("CC=O") if smiles == "CCC=O" else None
        ids[smiles], _ = candidates.propose(
            connection,
            created.id,
            molecule,
            known,
            model_id=generator,
            in_qm9=smiles == "CCO",
            refused=REFUSED.get(smiles),
            parent_id=parent,
            mask_fraction=0.4 if parent else None,
        )
        if smiles in REFUSED:
            continue
        molecule_id = candidates.add_molecule(connection, known, in_qm9=False)
        relaxed = candidates.add_conformer(
            connection, molecule, method="gfn2-xtb", molecule_id=molecule_id, properties={"gap": 3.0}
        )
        predicted = LABELS.get(smiles, 7.5) + 0.1
        candidates.score(
            connection, relaxed, Prediction(ids[smiles], {"gap": estimate(predicted, 0.15)}, False), surrogate
        )
        if smiles in LABELS:
            label(connection, created.id, ids[smiles], relaxed, LABELS[smiles], CERTIFIED.get(smiles))
    connection.execute("UPDATE campaigns SET elapsed_s = 90 WHERE id = %s", (created.id,))
    proposed = CandidatesProposed(
        campaign_id=created.id, candidate_ids=tuple(ids.values()), sampled=20, refused={"valence": 5}
    )
    scored = CandidatesScored(campaign_id=created.id, candidate_ids=tuple(ids.values()), model_id=surrogate)
    requests.tell(connection, proposed, source="test")
    outbox.emit(connection, scored, source="test")
    return created.id


def label(
    connection: Connection,
    campaign_id: UUID,
    candidate_id: UUID,
    conformer_id: UUID,
    gap_ev: float,
    certified_ev: float | None = None,
) -> None:
    """Give a scored candidate a DFT gap, and a certificate if wanted."""
    bring(connection, "candidates", candidate_id, "labelled" if certified_ev is None else "certified")
    triage = calculation(connection, campaign_id, conformer_id, "triage", gap_ev)
    connection.execute(
        "UPDATE candidates SET triage_id = %s, label_value = %s WHERE id = %s",
        (triage, gap_ev, candidate_id),
    )
    if certified_ev is not None:
        certificate = calculation(connection, campaign_id, conformer_id, "certificate", certified_ev)
        connection.execute(
            """UPDATE candidates SET certificate_id = %s, certified_value = %s,
                      certified_conformer_id = relaxed_conformer_id WHERE id = %s""",
            (certificate, certified_ev, candidate_id),
        )
    candidates.judge(connection, campaign_id, [candidate_id])


def calculation(connection: Connection, campaign_id: UUID, conformer_id: UUID, level: str, gap_ev: float) -> UUID:
    """A calculation that is done, and its event."""
    new = uuid4()
    connection.execute(
        """INSERT INTO calculations (id, content_hash, level, campaign_id, conformer_id, state, gap_ev, homo_ev, lumo_ev,
                                     energy_hartree, dipole_debye, wall_s, cpu_s, host, started_at, finished_at, result,
                                     properties)
           VALUES (%s, %s, %s, %s, %s, 'done', %s, -6.5, %s, -153.1, 2.7, 11, 10, 'node', now(), now(), %s, %s)""",
        (
            new,
            str(new),
            level,
            campaign_id,
            conformer_id,
            gap_ev,
            gap_ev - 6.5,
            Jsonb({}),
            computed(gap_ev, -6.5, dipole_debye=2.7),
        ),
    )
    outbox.emit(connection, CalculationFinished(calculation_id=new, state="done"), source="test")
    return new


def model(connection: Connection, role: str) -> UUID:
    """The live model of a role."""
    if (known := models.live(connection, role)) is not None:
        return known.id
    new = uuid4()
    connection.execute(
        """INSERT INTO models (id, role, architecture, domain, version, state, path, sha256, verdict)
           VALUES (%s, %s, %s, %s, 0, 'live', '/nowhere', %s, 'shipped')""",
        (new, role, ARCHITECTURES[role], Jsonb(DOMAIN.as_dict()), "0" * 64),
    )
    return new


@pytest.fixture
def site(database: Database, tmp_path: object) -> Iterator[Site]:
    """A dashboard over an empty database."""
    settings = Settings(home=tmp_path, postgres_url=database.url)
    with serving(database, settings) as running:
        yield running


@pytest.fixture
def filled(site: Site) -> Site:
    """A dashboard with a campaign."""
    with site.database.transaction() as connection:
        campaign(connection)
    return site
