"""``gapsmith data make`` with a few molecules, through the queue of an embedded stack, stopped and taken up again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gapsmith.data.label_sets import load

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(900)]

TABLE = "smiles\nCCSCC\nCCPCC\nCC(=O)CBr\nCC[SiH2]CC\nC1=CSC=C1C\nC[Se]CCC\n"
LEVELS = """
levels:
  quick: {engine: pyscf, method: pbe, basis: 6-31g(d), fallback_basis: def2-svp, density_fitting: def2-universal-jkfit,
    grid: 0, convergence_hartree: 1.0e-5, relaxation: [gfn2-xtb]}
"""


@pytest.fixture
def environment(service_folder: Path, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "levels.yaml").write_text(LEVELS)
    (tmp_path / "some.csv").write_text(TABLE)
    own = {"GAPSMITH_HOME": str(service_folder / "factory"), "GAPSMITH_LEVELS": str(tmp_path / "levels.yaml")}
    return {**os.environ, **own, "OMP_NUM_THREADS": "1"}


def command(tmp_path: Path, *words: str) -> list[str]:
    table = f"table:{tmp_path / 'some.csv'}"
    return [sys.executable, "-m", "gapsmith.cli.main", "data", "make", "few", "--pool", table, "--molecules", "5",
            "--into", str(tmp_path / "sets"), *words]  # fmt: skip


def test_a_set_is_made_stopped_and_finished(environment: dict[str, str], tmp_path: Path) -> None:
    first = subprocess.run(command(tmp_path), env=environment, capture_output=True, text=True, timeout=300)
    assert first.returncode == 0, first.stderr
    assert "5 molecules" in first.stdout
    folder = tmp_path / "sets" / "few"
    assert not load(folder).labels
    process = subprocess.Popen(
        command(tmp_path, "--level", "quick"), env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert "workers compute" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    _, words = process.communicate(timeout=200)
    assert process.returncode == 130
    assert "the same command goes on where it was" in words
    done = subprocess.run(
        command(tmp_path, "--level", "quick", "--labels", "4"),
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    found = load(folder)
    labels = found.of_level("quick")
    assert labels is not None
    assert len(found) == 5
    assert labels.there.sum() == 4
    assert ((labels.gap_ev > 2) & (labels.gap_ev < 9))[labels.there].all()
    assert np.isfinite(found.columns["gfn2_homo_populations"]).all()
    assert str(tmp_path) not in (folder / "manifest.json").read_text()
    again = subprocess.run(
        command(tmp_path, "--level", "quick", "--labels", "4"),
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert again.returncode == 0, again.stderr
    assert len(load(folder).manifest["shards"]) == len(found.manifest["shards"])
