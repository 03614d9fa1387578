"""A small architecture that is installed as a plug-in would be, and a trained parent of it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import torch
from model_cards import as_role

from gapsmith.data import qm9
from gapsmith.store.labels import Label
from gapsmith.trainer.job import Folder, Job
from gapsmith.trainer.labels import write
from gapsmith.trainer.processes import horovod_problem
from gapsmith.training.checkpoint import save_model, sha256
from gapsmith.training.communicator import SingleProcess
from gapsmith.training.files import card_path
from gapsmith.training.loop import TrainingPlan, train
from gapsmith.training.protocol import BaseOptions

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the metadata of a distribution that brings the architecture ``composition``."""
    folder = tmp_path_factory.mktemp("site")
    info = folder / "composition-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: composition\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[gapsmith.trainables]\ncomposition = composition:CompositionTrainable\n")
    return folder


@pytest.fixture(autouse=True)
def plugin(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The architecture ``composition`` in this process and in those that it starts."""
    for path in (installed, HERE):
        monkeypatch.syspath_prepend(str(path))
    monkeypatch.setenv("PYTHONPATH", f"{installed}:{HERE}")


@pytest.fixture(scope="session")
def horovod() -> None:
    """Skips where Horovod could not be built."""
    if (problem := horovod_problem()) is not None:
        pytest.skip(problem)


@pytest.fixture(scope="session")
def trained(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a model of that architecture, trained a little on QM9, once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        for path in (installed, HERE):
            patch.syspath_prepend(str(path))
        from composition import CompositionTrainable

        kind = CompositionTrainable()
        torch.manual_seed(0)
        base = kind.base_training(kind.default_config(), BaseOptions())
        source = base.source(SingleProcess(), batch_size=64)
        model, _ = train(kind, base.model, source, TrainingPlan(steps=60, learning_rate=1e-2))
        kind.finish(model, [])
        weights = tmp_path_factory.mktemp("trained") / "composition-0.safetensors"
        save_model(weights, model, **as_role("composition"), config=base.config, card={"data": "QM9"})
    return weights


@pytest.fixture
def parent(trained: Path, tmp_path: Path) -> Path:
    """A test's own copy of those weights and their card."""
    shutil.copy(card_path(trained), tmp_path)
    return Path(shutil.copy(trained, tmp_path))


@pytest.fixture(scope="session")
def labels() -> Callable[[int], list[Label]]:
    """Labels out of QM9's test split: the first so many, with ids of their own."""
    data = qm9.load()
    chosen = qm9.split(len(data))["test"]

    def first(count: int) -> list[Label]:
        return [
            Label(
                uuid4(),
                data.numbers[data.atoms(molecule)],
                data.coordinates[data.atoms(molecule)],
                {"gap_ev": float(data.properties["gap_ev"][molecule])},
            )
            for molecule in chosen[:count]
        ]

    return first


@pytest.fixture
def prepare(parent: Path, tmp_path: Path, labels: Callable[[int], list[Label]]) -> Callable[..., tuple[Folder, Job]]:
    """Makes folders with a job and labels."""
    known = labels(12)

    def make(name: str, *, processes: int = 1, steps: int = 12) -> tuple[Folder, Job]:
        folder = Folder(tmp_path / name)
        job = Job(
            role="composition",
            parent_id=UUID(int=1),
            parent_weights=parent,
            parent_sha256=sha256(parent),
            model_id=UUID(int=2),
            weights=tmp_path / name / "candidate.safetensors",
            training_labels=9,
            held_out_labels=3,
            steps=steps,
            batch_size=32,
            replay_fraction=0.5,
            learning_rate=1e-2,
            base_molecules=500,
            seed=5,
            processes=processes,
        )
        write(folder.labels, known)
        job.write(folder.job)
        return folder, job

    return make
