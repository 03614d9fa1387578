"""``gapsmith train surrogate --with``: a real training on an imported set, its card and its verdict."""

import json
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from click.testing import CliRunner

from gapsmith.cli.main import cli
from gapsmith.core.errors import InputError, NotFound
from gapsmith.data import imported
from gapsmith.data.imported import DataSet
from gapsmith.data.molecules import Molecules
from gapsmith.data.sources import find
from gapsmith.store.labels import Label
from gapsmith.surrogate import WEIGHTS
from gapsmith.trainer import labels as label_files
from gapsmith.trainer.job import Folder, Job, Result, read
from gapsmith.trainer.run import run
from gapsmith.training.checkpoint import load_tensors, read_card

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
MOLECULES = 80


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a set whose gaps are QM9's, stretched."""
    monkeypatch.setenv("GAPSMITH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GAPSMITH_TRAINER_BASE_MOLECULES", "50")
    some = find("qm9").load("test")
    assert some is not None
    some = some.take(np.arange(MOLECULES))
    part = Molecules(some.offsets, some.numbers, some.coordinates, {"gap@ours": 1.5 * some.target("gap")})
    keys = [f"{number:014d}-AAAAAAAAAA-N" for number in range(MOLECULES)]
    card = {"head": "gap@ours", "property": "gap", "theory": "ours", "title": "ours", "origin": "a.csv"}
    card |= {"licence": "MIT", "file_sha256": "f" * 64}
    imported.write(
        "ours", DataSet(card, part, keys, ["C"] * MOLECULES, imported.splits_of(keys, [None] * MOLECULES)), ""
    )
    find.cache_clear()
    return tmp_path


def test_the_shipped_surrogate_learns_a_set_and_forgets_nothing(home: Path) -> None:
    folder = home / "run"
    words = ["train", "surrogate", "--with", "ours", "-d", str(folder), "--steps", "20", "--threads", "1"]
    found = CliRunner().invoke(cli, words)
    assert found.exit_code == 0, (found.output, found.exception)
    card = read_card(folder / "surrogate.safetensors", role="surrogate")
    assert card["promoted"]
    assert card["verdict"].startswith("promoted")
    (own,) = (one for one in card["sources"] if one["name"] == "imported:ours")
    assert (own["licence"], own["origin"], own["file_sha256"]) == ("MIT", "a.csv", "f" * 64)
    assert card["domain"]["properties"]["gap@ours"]["level"] == "ours"
    assert card["metrics"]["test"]["gap@ours_mae_ev"] < 0.3
    before, after = load_tensors(WEIGHTS), load_tensors(folder / "surrogate.safetensors")
    kept = [name for name in before if name.startswith(("trunk.", "heads."))]
    assert all(np.array_equal(before[name].float(), after[name].float()) for name in kept)
    assert "gap@ours" in json.dumps(card["config"])


def test_a_campaigns_labels_and_a_set_are_learned_together(home: Path) -> None:
    some = find("qm9").load("validation")
    assert some is not None
    known = [
        Label(
            uuid4(),
            some.numbers[some.offsets[at] : some.offsets[at + 1]],
            some.coordinates[some.offsets[at] : some.offsets[at + 1]],
            {"gap_ev": float(some.target("gap")[at])},
        )
        for at in range(8)
    ]
    folder = Folder(home / "training")
    label_files.write(folder.labels, known)
    job = Job(
        role="surrogate", data=("ours",), parent_id=uuid4(), parent_weights=WEIGHTS,
        parent_sha256=read_card(WEIGHTS)["sha256"], model_id=uuid4(), weights=home / "surrogate.safetensors",
        training_labels=5, held_out_labels=3, steps=2, batch_size=8, replay_fraction=0.5, learning_rate=2e-5,
        base_molecules=50, seed=0, processes=1,
    )  # fmt: skip
    job.write(folder.job)
    assert run(folder, job)
    result, card = read(Result, folder.result), read_card(job.weights, role="surrogate")
    assert {metric.name for metric in result.judged_by} == {"gap_mae_ev", "gap_nll"}  # what the campaign wants
    assert "gap@ours_mae" in result.losses
    assert (card["labels"]["training"], len(card["labels"]["calculations"])) == (5, 8)
    assert card["labels"]["imported"] > 40
    assert [one["name"] for one in card["sources"]][-1] == "imported:ours"


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["surrogate", "--with", "theirs"], NotFound, "there is no imported data set 'theirs'"),
        (["generator", "--with", "ours"], InputError, "a generator does not learn from imported data"),
        (["surrogate", "--with", "ours", "--time-budget", "1m"], InputError, "--with takes no --time-budget"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_trained(
    home: Path, words: list[str], error: type[Exception], message: str
) -> None:
    found = CliRunner().invoke(cli, ["train", *words, "-d", str(home / "run")])
    assert isinstance(found.exception, error)
    assert message in str(found.exception)
    assert not (home / "run" / "job.json").exists()
