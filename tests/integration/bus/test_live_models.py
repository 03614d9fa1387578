"""Running services take up the model that a person chose: each a process of its own, with a real broker and database."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner
from model_cards import as_role, card
from rdkit import Chem
from rdkit.Chem import AllChem
from service_process import loaded, serving, wait_for

from gapsmith.cli.main import cli
from gapsmith.core.campaign import parse_campaign
from gapsmith.core.chemistry.conversion import from_rdkit
from gapsmith.core.chemistry.identity import identify
from gapsmith.core.messages import CandidatesProposed
from gapsmith.core.settings import Settings
from gapsmith.core.settings import settings as own_settings
from gapsmith.generator import WEIGHTS as GENERATOR
from gapsmith.store import campaigns, candidates, models, outbox
from gapsmith.store.database import Connection, Database
from gapsmith.surrogate import WEIGHTS as SURROGATE
from gapsmith.surrogate.predictor import Predictor
from gapsmith.training.card import card_alone
from gapsmith.training.checkpoint import save_model
from gapsmith.training.files import card_path, sha256

pytestmark = pytest.mark.timeout(600)
SOON_S = 120.0  # a fraction of a second by itself; the rest is for a busy machine


def trained(connection: Connection, role: str, shipped: Path, weights: Path) -> tuple[UUID, UUID]:
    """Shipped weights, and others that the trainer promoted after them; their ids."""
    parent, model_id = models.ensure_shipped(connection, shipped, card_alone(shipped)), uuid4()
    models.add(
        connection,
        model_id,
        card(role, sha256(weights)),
        parent_id=parent,
        path=weights,
        metrics={},
        labels=8,
        campaign_id=None,
    )
    models.promote(connection, model_id, "promoted: better", source="trainer")
    return parent, model_id


@pytest.fixture
def command(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Types a command that must work."""
    assert settings.postgres_url is not None
    monkeypatch.setenv("GAPSMITH_POSTGRES_URL", settings.postgres_url.get_secret_value())
    own_settings.cache_clear()

    def run(*words: str) -> None:
        result = CliRunner().invoke(cli, list(words))
        assert result.exit_code == 0, (result.output, result.exception)

    yield run
    own_settings.cache_clear()


def proposed(connection: Connection, campaign_id: UUID, model_id: UUID, smiles: str) -> UUID:
    """A candidate, and the news of it."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    made, _ = candidates.propose(
        connection, campaign_id, from_rdkit(mol), identify(mol), model_id=model_id, in_qm9=True
    )
    event = CandidatesProposed(campaign_id=campaign_id, candidate_ids=(made,), sampled=1, refused={})
    outbox.emit(connection, event, source="generator")
    return made


def test_services_answer_with_the_model_that_was_rolled_back_to(
    settings: Settings, database: Database, command: Callable[..., None], tmp_path: Path
) -> None:
    bolder = Predictor.load(SURROGATE).model
    bolder.sigma_scale.mul_(0.5)
    surrogate, generator = tmp_path / "surrogate.safetensors", tmp_path / "generator.safetensors"
    save_model(surrogate, bolder, **as_role("surrogate"), config=bolder.config.as_dict(), card={}, half=True)
    generator.write_bytes(GENERATOR.read_bytes())
    card_path(generator).write_bytes(card_path(GENERATOR).read_bytes())
    with database.transaction() as connection:
        shipped_surrogate, new_surrogate = trained(connection, "surrogate", SURROGATE, surrogate)
        shipped_generator, new_generator = trained(connection, "generator", GENERATOR, generator)
        campaign_id = campaigns.create(
            connection, parse_campaign({"name": "t", "target": {"value": 6.0}}), source="t"
        ).id
        first = proposed(connection, campaign_id, new_generator, "C=O")

    def deviation(candidate: UUID, model: UUID) -> float | None:
        with database.transaction() as connection:
            row = connection.execute(
                """SELECT (properties #>> '{gap,std}')::float8 AS gap_std_ev FROM predictions
                   WHERE candidate_id = %s AND model_id = %s""",
                (candidate, model),
            ).fetchone()
        return None if row is None else float(row["gap_std_ev"])

    logs = tmp_path / "surrogate.log", tmp_path / "generator.log"
    with ExitStack() as services:
        services.enter_context(serving("surrogate", settings, logs[0]))
        services.enter_context(serving("generator", settings, logs[1]))
        wait_for(lambda: deviation(first, new_surrogate) is not None and loaded(logs[1]) == [str(new_generator)])
        assert deviation(first, shipped_surrogate) is None

        command("models", "rollback", "surrogate", "--yes", "--reason", "too sure of itself")
        wait_for(lambda: deviation(first, shipped_surrogate) is not None, SOON_S)  # what waits for DFT is judged again
        assert deviation(first, new_surrogate) == pytest.approx(
            0.5 * (deviation(first, shipped_surrogate) or 0), rel=1e-5
        )
        with database.transaction() as connection:
            second = proposed(connection, campaign_id, new_generator, "CO")
        wait_for(lambda: deviation(second, shipped_surrogate) is not None)
        assert deviation(second, new_surrogate) is None

        command("models", "rollback", "generator", "--yes")  # which has nothing to do
        wait_for(lambda: loaded(logs[1]) == [str(new_generator), str(shipped_generator)], SOON_S)
        command("models", "promote", "generator:1", "--yes")
        wait_for(lambda: loaded(logs[1])[2:] == [str(new_generator)], SOON_S)
        assert loaded(logs[0]) == [str(new_surrogate), str(shipped_surrogate)]
