"""``gapsmith data make`` with a few molecules, through the queue of an embedded stack, stopped and taken up again.

The level is GFN2-xTB's own, so that the labels must be what the set records anyway.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gapsmith.core.electronic import NEIGHBOURS
from gapsmith.data.label_sets import load

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(1800)]

TABLE = "smiles\nCCSCC\nCCPCC\nCC(=O)CBr\nCC[SiH2]CC\nC1=CSC=C1C\nC[Se]CCC\n"


@pytest.fixture
def environment(service_folder: Path) -> dict[str, str]:
    return {**os.environ, "GAPSMITH_HOME": str(service_folder / "factory"), "OMP_NUM_THREADS": "1"}


def command(tmp_path: Path, *words: str) -> list[str]:
    (tmp_path / "some.csv").write_text(TABLE)
    table = f"table:{tmp_path / 'some.csv'}"
    return [sys.executable, "-m", "gapsmith.cli.main", "data", "make", "few", "--pool", table, "--molecules", "5",
            "--into", str(tmp_path / "sets"), *words]  # fmt: skip


def make(environment: dict[str, str], tmp_path: Path, *words: str) -> str:
    arguments = command(tmp_path, *words)
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_set_is_made_stopped_and_finished(environment: dict[str, str], tmp_path: Path) -> None:
    assert "5 molecules" in make(environment, tmp_path)
    folder = tmp_path / "sets" / "few"
    assert not load(folder).labels
    process = subprocess.Popen(command(tmp_path, "--level", "xtb"), env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "workers compute" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    _, words = process.communicate(timeout=800)
    assert process.returncode == 130
    assert "the same command goes on where it was" in words
    make(environment, tmp_path, "--level", "xtb", "--labels", "4")
    found = load(folder)
    labels = found.of_level("xtb")
    assert labels is not None
    assert len(found) == 5
    assert labels.there.sum() == 4
    orbitals = found.columns["gfn2_orbital_energies_ev"]
    own = orbitals[:, NEIGHBOURS] - orbitals[:, NEIGHBOURS - 1]
    assert labels.gap_ev[labels.there] == pytest.approx(own[labels.there], abs=1e-3)
    assert labels.mulliken_e[: found.offsets[4]] == pytest.approx(
        found.columns["gfn2_charges_e"][: found.offsets[4]], abs=2e-3
    )
    assert str(tmp_path) not in (folder / "manifest.json").read_text()
    make(environment, tmp_path, "--level", "xtb", "--labels", "4")
    assert len(load(folder).manifest["shards"]) == len(found.manifest["shards"])
