"""What every service with a live model does, on a real database, with models that are texts."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from model_cards import card

from gapsmith.bus.inlet import Handler
from gapsmith.bus.model_service import ModelService
from gapsmith.bus.service import Commit
from gapsmith.core.errors import CheckpointError
from gapsmith.core.settings import Settings
from gapsmith.store import model_choice, models
from gapsmith.store.database import Database
from gapsmith.store.tasks import Task

ROLE = "surrogate"
UNKNOWN = "of an architecture that nobody knows"


def write(path: Path, text: str) -> Path:
    """Weights with their card."""
    path.write_text(text)
    path.with_suffix(".json").write_text(json.dumps(card(ROLE, hashlib.sha256(text.encode()).hexdigest())))
    return path


class Reader(ModelService[str]):
    """Its models are texts."""

    name = "reader"
    role = ROLE

    def __init__(self, database: Database, shipped: Path) -> None:
        super().__init__(Settings(home=shipped.parent, postgres_url=database.url), database)
        self.weights = shipped
        self.tried: list[Path] = []

    def handlers(self) -> Sequence[Handler]:
        return []

    def perform(self, task: Task) -> Commit:
        raise AssertionError("nobody asks for anything")

    def shipped(self) -> Path:
        return self.weights

    def load(self, weights: Path) -> str:
        self.tried.append(weights)
        text = weights.read_text()
        if text == UNKNOWN:
            raise KeyError("layers")
        return text

    def poll(self, times: int = 3) -> str:
        """Look for work, of which there is none; the model in use then."""
        for _ in range(times):
            assert not self.work()
        assert self._loaded is not None
        return self._loaded.model


@pytest.fixture
def reader(database: Database, tmp_path: Path) -> Reader:
    made = Reader(database, write(tmp_path / "shipped.safetensors", "shipped"))
    made.setup()
    return made


def train(reader: Reader, weights: Path) -> UUID:
    """A model that the trainer promoted."""
    model_id, parent = uuid4(), reader.model().id
    with reader.database.transaction() as connection:
        models.add(
            connection,
            model_id,
            card(ROLE, hashlib.sha256(weights.read_bytes()).hexdigest()),
            parent_id=parent,
            path=weights,
            metrics={},
            labels=1,
            campaign_id=None,
        )
        models.promote(connection, model_id, "better", source="trainer")
    return model_id


def go_back(reader: Reader) -> None:
    with reader.database.transaction() as connection:
        live = models.live(connection, ROLE)
        assert live is not None
        model_choice.rollback(connection, ROLE, leave=live.id, who="test", reason=None)


def test_an_idle_service_takes_up_what_goes_live_and_reads_it_once(reader: Reader, tmp_path: Path) -> None:
    assert reader.poll() == "shipped"
    train(reader, write(tmp_path / "new.safetensors", "new"))
    assert reader.poll() == "new"
    go_back(reader)
    assert reader.poll() == "shipped"
    assert [path.stem for path in reader.tried] == ["shipped", "new", "shipped"]


@pytest.mark.parametrize("text", ["damaged", UNKNOWN])
def test_what_cannot_be_used_is_passed_over_until_it_goes_live_again(reader: Reader, tmp_path: Path, text: str) -> None:
    before = reader.model()
    path = write(tmp_path / "bad.safetensors", UNKNOWN)
    if text == "damaged":
        path = write(tmp_path / "bad.safetensors", "sound")
    bad = train(reader, path)
    if text == "damaged":
        path.write_text("sou")
    assert reader.poll() == "shipped"
    assert reader.model() == before
    assert reader.unusable == bad
    assert len(reader.tried) == (1 if text == "damaged" else 2)  # tried once, not with every look
    again = Reader(reader.database, reader.weights)
    again.setup()
    assert again.model() == before
    go_back(reader)
    assert reader.poll() == "shipped"
    assert reader.unusable is None
    if text == "damaged":
        path.write_text("sound")
        with reader.database.transaction() as connection:
            model_choice.promote(connection, bad, who="test", reason="repaired")
        assert reader.poll() == "sound"


def test_shipped_weights_are_read_where_they_lie_on_this_host(reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    other = Reader(reader.database, write(tmp_path / "there" / "shipped.safetensors", "shipped"))
    other.setup()  # the registry has its path now
    train(reader, write(tmp_path / "new.safetensors", "new"))
    assert reader.poll() == "new"
    other.weights.unlink()
    go_back_by_state(reader)
    assert reader.poll() == "shipped"
    assert reader.tried[-1] == reader.weights


def go_back_by_state(reader: Reader) -> None:
    """As a command on the other host would have done while its file was there."""
    with reader.database.transaction() as connection:
        connection.execute("UPDATE models SET state = 'retired' WHERE state = 'live'")
        connection.execute("UPDATE models SET state = 'live' WHERE parent_id IS NULL")


def test_a_service_does_not_start_without_sound_shipped_weights(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "shipped.safetensors"
    with pytest.raises(CheckpointError, match="GAPSMITH_SURROGATE_WEIGHTS"):
        Reader(database, path).setup()
    write(path, "shipped").write_text("ship")
    with pytest.raises(CheckpointError, match="does not match its card"):
        Reader(database, path).setup()
    with database.transaction() as connection:
        assert models.live(connection, ROLE) is None
