"""A package that adds a source by an entry point alone: it keeps the contract, and a surrogate learns from it."""

import csv
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import installed
import pytest
import yaml
from tests.contracts.sources.contract import SourceContract

from gapsmith.data import sources
from gapsmith.data.sources import find
from gapsmith.surrogate import quantities
from gapsmith.surrogate.config import DEFAULT, load
from gapsmith.training.card import domain_of, read_card

SOURCE = Path(__file__).with_name("stretching.py").read_text()
CACHES = (sources.registered, sources.find, quantities.quantities)
STEPS = 150


@pytest.fixture(autouse=True, scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package, on the path of this process as long as the tests of this module run."""
    folder = installed.install(
        tmp_path_factory.mktemp("plugin") / "site", "stretched", SOURCE, "gapsmith.sources", "Stretched"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        for one in CACHES:
            one.cache_clear()
        yield folder
    for one in CACHES:
        one.cache_clear()


class TestStretched(SourceContract):
    """The plug-in's."""

    source = "stretched"


def gapsmith(folder: Path, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command, with the package on its path or without it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GAPSMITH_HOME", "PYTHONPATH"))}
    extra = {} if path is None else {"PYTHONPATH": str(path)}
    return subprocess.run(
        [sys.executable, "-m", "gapsmith.cli.main", *arguments],
        env={**kept, **extra, "GAPSMITH_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ``gapsmith train`` left its weights."""
    folder = tmp_path_factory.mktemp("runs")
    config = load(DEFAULT).as_dict()
    config["trunk"] |= {"layers": 1, "features": 16, "vector_features": 8, "radial": 12, "latent": 16}
    config["training"] |= {"batch_size": 32, "learning_rate": 5e-3, "optimizer": "adamw"}
    config["training"] |= {"warmup_steps": 10, "ema_decay": 0.9}
    config["sources"] = {"stretched": {"share": 1.0, "noise_angstrom": 0.0}}
    config["heads"] = {
        name: {"level": "graph", "unit": "eV", "weight": 1.0, "sources": ["stretched"]} for name in ("gap", "strain")
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    done = gapsmith(
        folder, "train", "surrogate", "-d", str(folder), "--config", str(folder / "config.yaml"),
        "--steps", str(STEPS), "--device", "cpu", "--threads", "1", path=site,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_the_card_names_the_source_with_its_licence_and_hash(folder: Path) -> None:
    weights = folder / "surrogate-0.safetensors"
    card = read_card(weights, role="surrogate")
    train = find("stretched").load("train")
    assert train is not None
    (about,) = card["sources"]
    assert about == {
        "name": "stretched", "title": "Stretched carbon monoxide", "origin": "made up", "licence": "CC0-1.0",
        "levels": ["by hand"], "split": "train", "molecules": len(train), "sha256": about["sha256"],
    }  # fmt: skip
    domain = domain_of(card, weights)
    assert (domain.elements, domain.heavy_atoms) == (("C", "O"), (2, 2))
    assert {name: (known.level, known.unit) for name, known in domain.properties.items()} == {
        "gap": ("by hand", "eV"),
        "strain": ("by hand", "eV"),
    }
    assert 6 <= (domain.properties["gap"].low or 0) <= 6.2  # in eV, though the labels are in hartree
    assert card["held_out"]["gap_mae_ev"] < 0.2  # of a range of 3


@pytest.mark.slow
def test_the_command_line_predicts_what_it_learned(folder: Path, site: Path) -> None:
    (folder / "co.xyz").write_text("2\n\nC 0 0 0\nO 0 0 1.1\n")
    words = ("predict", str(folder / "co.xyz"), "--weights", str(folder / "surrogate-0.safetensors"), "-o", "-")
    done = gapsmith(folder, *words, path=site)
    assert done.returncode == 0, done.stderr
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert float(row["gap_ev"]) == pytest.approx(12 - 3 * 1.1, abs=0.4)
    assert float(row["strain_ev"]) == pytest.approx(0.01, abs=0.1)
    done = gapsmith(folder, *words)
    assert done.returncode == 6  # model weights cannot be used
    assert "'strain' is unknown" in done.stderr
