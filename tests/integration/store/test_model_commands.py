"""What people ask of the model registry, against a real Postgres: commands as they are typed, weights as files."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from model_cards import card

from gapsmith.cli.main import cli
from gapsmith.core.campaign import parse_campaign
from gapsmith.core.errors import CheckpointError, InputError
from gapsmith.core.settings import settings
from gapsmith.store import campaigns, model_choice, models, outbox
from gapsmith.store.database import Database

pytestmark = pytest.mark.timeout(600)
ROLE = "surrogate"
METRICS = {
    "candidate": {"base_gap_mae_ev": 0.04, "held_out_error_ev": [0.1, 0.3], "held_out_nll": [-1.0, 0.0]},
    "live": {"base_gap_mae_ev": 0.05, "held_out_error_ev": [0.2, 0.6], "held_out_nll": [0.5, 0.5]},
    "base": {"gap_mae_ev": 0.04},
    "training": {"steps": 40, "elapsed_s": 12.5, "fingerprints": [[1.0, 2.0]]},
    "warnings": ["one process only"],
}


@dataclass
class Registry:
    """A registry, its files, and the commands that ask it."""

    database: Database
    folder: Path
    ids: list[UUID] = field(default_factory=list)

    def file(self, role: str = ROLE) -> tuple[Path, str]:
        """Weights that nobody has, with their card."""
        path = self.folder / f"{len(list(self.folder.iterdir()))}.safetensors"
        path.write_bytes(b"weights of " + str(path).encode())
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        labels = {"training": 6, "held_out": 2, "calculations": ["a", "b"], "sha256": "f" * 64}
        path.with_suffix(".json").write_text(json.dumps(card(role, digest, labels=labels, data="fine-tuned")))
        return path, digest

    def ship(self) -> UUID:
        """What a service does at its start."""
        path, digest = self.file()
        with self.database.transaction() as connection:
            self.ids.append(models.ensure_shipped(connection, path, card(ROLE, digest)))
        return self.ids[-1]

    def train(self, verdict: str = "promoted on 2 labels", *, of: str = ROLE, campaign: UUID | None = None) -> UUID:
        """What the trainer does, from the newest model."""
        path, digest = self.file(of)
        model_id = UUID(int=0xABCD_0000 << 96 | len(self.ids))
        with self.database.transaction() as connection:
            models.add(
                connection,
                model_id,
                card(ROLE, digest),
                parent_id=self.ids[-1],
                path=path,
                metrics=METRICS,
                labels=6,
                campaign_id=campaign,
            )
            if verdict.startswith("promoted"):
                models.promote(connection, model_id, verdict, source="trainer")
            else:
                models.reject(connection, model_id, verdict)
        self.ids.append(model_id)
        return model_id

    def run(self, *words: object) -> Result:
        """A command."""
        return CliRunner().invoke(cli, ["models", *map(str, words)])

    def say(self, *words: object) -> str:
        """What a command that must work prints."""
        result = self.run(*words)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.stdout

    def refuse(self, kind: type[Exception], *words: object) -> str:
        """What a command that must not work complains about; nothing else has happened."""
        before = self.live(), self.events()
        result = self.run(*words)
        assert isinstance(result.exception, kind), (result.output, result.exception)
        assert (self.live(), self.events()) == before
        return str(result.exception)

    def live(self) -> int | None:
        """Version of the live model."""
        with self.database.transaction() as connection:
            found = models.live(connection, ROLE)
        return None if found is None else found.version

    def path(self, version: int) -> Path:
        """File of a version."""
        with self.database.transaction() as connection:
            return Path(models.get(connection, self.ids[version]).path)

    def events(self) -> list[str]:
        """Ids of models that services were told to take up."""
        with self.database.transaction() as connection:
            found = outbox.unhandled(connection, "nobody", ["gapsmith.model.promoted"], -10.0)
        return [str(one.envelope.data["model_id"]) for one in found]


@pytest.fixture
def registry(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A registry that the commands find."""
    monkeypatch.setenv("GAPSMITH_POSTGRES_URL", database.url)
    settings.cache_clear()
    yield Registry(database, tmp_path)
    settings.cache_clear()


def three(registry: Registry) -> None:
    """Shipped weights, and two that were trained from them one after the other and went live."""
    registry.ship()
    registry.train()
    registry.train()


def test_the_list_has_the_newest_first_and_says_who_is_live(registry: Registry) -> None:
    assert registry.say("list") == ""
    with registry.database.transaction() as connection:
        campaign = campaigns.create(
            connection, parse_campaign({"name": "blue", "target": {"value": 3.0}}), source="test"
        ).id
    registry.ship()
    registry.train(campaign=campaign)
    registry.train("rejected: worse")
    header, *lines = registry.say("list").splitlines()
    rows = [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]
    assert [(row["version"], row["state"], row["parent"], row["campaign"], row["verdict"]) for row in rows] == [
        ("2", "rejected", "1", "", "rejected: worse"),
        ("1", "live", "0", "blue", "promoted on 2 labels"),
        ("0", "retired", "", "", "shipped"),
    ]
    assert [one["version"] for one in json.loads(registry.say("list", "--state", "live,retired", "--json"))] == [1, 0]
    assert json.loads(registry.say("list", "--role", "generator", "--json")) == []


def test_show_tells_where_a_model_comes_from_and_whether_its_file_is_sound(registry: Registry) -> None:
    three(registry)
    text = registry.say("show", ROLE)
    for words in (
        f"model      {ROLE}:2",
        f"lineage    {ROLE}:2 (6 labels, live)",
        f"{ROLE}:1 (6 labels, retired)",
        f"{ROLE}:0 (shipped, retired)",
        "6 labels for training, 2 newer ones held out",
        "set of labels ffffffffffffffff, 2 calculations",
        "verdict    promoted on 2 labels",
        "matches it",
        "one process only",
        "promoted by trainer",
    ):
        assert words in text
    (line,) = (line for line in text.splitlines() if "held_out_error_ev" in line)
    assert line.split()[-3:] == ["0.2", "0.4", "-0.2"]  # this one, live then, difference of the means
    found = json.loads(registry.say("show", registry.ids[2], "--json"))
    assert [one["version"] for one in found["lineage"]] == [2, 1, 0]
    assert found["metrics"] == METRICS
    assert found["file"]["intact"] is True
    registry.path(2).write_bytes(b"other")
    assert "PROBLEM" in registry.say("show", f"{ROLE}:2")
    assert json.loads(registry.say("show", f"{ROLE}:2", "--json"))["file"]["intact"] is False
    assert "matches it" in registry.say("show", f"{ROLE}:1")


def test_a_model_and_its_parent_are_compared_on_the_same_labels(registry: Registry) -> None:
    three(registry)
    found = json.loads(registry.say("compare", f"{ROLE}:1", f"{ROLE}:2", "--json"))
    assert (found["a"], found["b"]) == (f"{ROLE}:1", f"{ROLE}:2")
    error = found["metrics"]["held_out_error_ev, mean"]
    # version 1 had 0.2 eV at its own training, and 0.4 eV on the labels that version 2 was judged by
    assert error == {"a": pytest.approx(0.4), "b": pytest.approx(0.2), "difference": pytest.approx(-0.2)}
    assert f"held out from {ROLE}:2" in " ".join(found["notes"])
    header, *lines = registry.say("compare", f"{ROLE}:2", f"{ROLE}:1").splitlines()
    assert header.split("\t") == ["metric", f"{ROLE}:2", f"{ROLE}:1", "difference"]
    (row,) = (line.split("\t") for line in lines if line.startswith("base_gap_mae_ev"))
    assert float(row[3]) == pytest.approx(0.01)
    assert "itself" in registry.refuse(InputError, "compare", ROLE, f"{ROLE}:2")


def test_promotion_by_hand_is_told_and_remembered(registry: Registry) -> None:
    three(registry)
    assert f"{ROLE}:1 is live instead of {ROLE}:2" in registry.say(
        "promote", f"{ROLE}:1", "--yes", "--reason", "nitriles"
    )
    assert registry.live() == 1
    assert registry.events()[-1] == str(registry.ids[1])
    text = registry.say("show", ROLE)
    assert "verdict    promoted on 2 labels; promoted by " in text
    assert text.rstrip().endswith(": nitriles")
    assert "live already" in registry.refuse(InputError, "promote", ROLE, "--yes")
    registry.say("rollback", ROLE, "--yes")
    assert registry.live() == 2


def test_rejected_models_need_force(registry: Registry) -> None:
    three(registry)
    registry.train("rejected: worse by 0.2")
    complaint = registry.refuse(InputError, "promote", f"{ROLE}:3", "--yes")
    assert "worse by 0.2" in complaint
    assert "--force" in complaint
    registry.say("promote", f"{ROLE}:3", "--yes", "--force")
    assert registry.live() == 3


def test_nobody_to_ask_is_a_no(registry: Registry) -> None:
    three(registry)
    assert "--yes" in registry.refuse(InputError, "promote", f"{ROLE}:1")
    assert "--yes" in registry.refuse(InputError, "rollback", ROLE)


def test_rollback_goes_back_step_by_step_and_no_further_than_the_beginning(registry: Registry) -> None:
    three(registry)
    assert f"{ROLE}:1 is live again instead of {ROLE}:2" in registry.say("rollback", ROLE, "--yes", "--reason", "bold")
    assert registry.live() == 1
    assert ": bold" in registry.say("show", f"{ROLE}:2")
    registry.say("rollback", ROLE, "--yes")
    assert registry.live() == 0
    assert registry.events()[-2:] == [str(registry.ids[1]), str(registry.ids[0])]
    assert "no surrogate was before it" in registry.refuse(InputError, "rollback", ROLE, "--yes")
    registry.train()  # of what was left, nothing comes back
    registry.say("rollback", ROLE, "--yes")
    assert registry.live() == 0


def test_a_rollback_outlives_the_restart_of_a_service_and_gives_way_to_newer_shipped_weights(
    registry: Registry,
) -> None:
    registry.ship()
    registry.ship()
    assert registry.live() == 1
    registry.say("rollback", ROLE, "--yes")
    with registry.database.transaction() as connection:
        newest = models.get(connection, registry.ids[1])
        models.ensure_shipped(connection, Path(newest.path), card(ROLE, newest.sha256))
    assert registry.live() == 0
    registry.ship()
    assert registry.live() == 2


def test_damaged_missing_and_foreign_files_never_go_live(registry: Registry) -> None:
    three(registry)
    registry.train("rejected: worse", of="generator")
    registry.train("rejected: worse")
    assert "the role 'generator', wanted 'surrogate'" in registry.refuse(
        CheckpointError, "promote", f"{ROLE}:3", "--force", "--yes"
    )
    registry.path(4).unlink()
    assert "is missing" in registry.refuse(CheckpointError, "promote", f"{ROLE}:4", "--force", "--yes")
    registry.path(1).write_bytes(registry.path(1).read_bytes()[:-1])
    assert "does not match its card" in registry.refuse(CheckpointError, "promote", f"{ROLE}:1", "--yes")
    complaint = registry.refuse(CheckpointError, "rollback", ROLE, "--yes")
    assert f"{ROLE}:1, which was live before {ROLE}:2" in complaint
    other, digest = registry.file()  # sound in itself, but not what was registered
    other.replace(registry.path(1))
    other.with_suffix(".json").replace(registry.path(1).with_suffix(".json"))
    assert digest in registry.refuse(CheckpointError, "promote", f"{ROLE}:1", "--yes")
    assert registry.live() == 2


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("surogate", "did you mean 'surrogate'?"),
        ("surogate:1", "did you mean 'surrogate'?"),
        ("surrogate:9", "there is: surrogate:0, surrogate:1, surrogate:2"),
        ("generator", "gapsmith up"),
        ("abc", "4 or more digits"),
        ("abcd", "several models"),
        ("eeeeeeeeeeee", "no model has an id"),
    ],
)
def test_wrong_references_are_explained(registry: Registry, reference: str, words: str) -> None:
    three(registry)
    assert words in registry.refuse(InputError, "show", reference)
    assert words in registry.refuse(InputError, "promote", reference, "--yes")


def test_wrong_filters_are_explained(registry: Registry) -> None:
    three(registry)
    assert "did you mean 'live'?" in registry.refuse(InputError, "list", "--state", "life")
    assert "there is: generator, surrogate" in registry.refuse(InputError, "list", "--role", "oracle")
    assert "there is: generator, surrogate" in registry.refuse(InputError, "rollback", "oracle", "--yes")


def test_a_rollback_of_what_is_live_no_more_is_refused(registry: Registry) -> None:
    three(registry)
    with (
        pytest.raises(InputError, match="in the meantime"),
        registry.database.transaction() as connection,
    ):
        model_choice.rollback(connection, ROLE, leave=registry.ids[1], who="test", reason=None)
    assert registry.live() == 2
