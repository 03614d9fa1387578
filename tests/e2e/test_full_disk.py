"""Whole commands on a full disk: each says so in one sentence, leaves nothing half-done, and goes on when there is room.

Small disks can be mounted by root alone. Files that may not grow, and /dev/full, do for everybody.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir
from uuid import uuid4

import psutil
import pytest
import yaml

from gapsmith.core.errors import ErrorCode
from gapsmith.data import qm9
from gapsmith.stack.stack import EmbeddedStack

pytestmark = [pytest.mark.serial, pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(1800)]
FULL = ErrorCode.UNAVAILABLE.exit_code
CAMPAIGN = {
    "name": "tiny",
    "target": {"value": 7.8, "tolerance": 0.4},
    "constraints": {"heavy_atoms": [2, 3], "sa_score": 9.0},
    "budget": {"dft_jobs": 1, "wall_time": "20m"},
    "acquisition": {"pool": 2},
    "exploration": {"batch": 16},
    "dft": {"certify": False},
    "retraining": {"enabled": False},
}


def gapsmith(home: Path, *words: object, most: int | None = None, **more: str) -> "subprocess.CompletedProcess[str]":
    """Run a command in a home folder; its files may have ``most`` bytes."""

    def limit() -> None:
        if most is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    clean = {name: value for name, value in os.environ.items() if not name.startswith("GAPSMITH_")}
    cache = os.environ.get("GAPSMITH_CACHE", str(Path.home() / ".cache" / "gapsmith"))
    own = {"GAPSMITH_HOME": str(home), "GAPSMITH_CACHE": cache, "GAPSMITH_DASHBOARD_PORT": "0", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "gapsmith.cli.main", *map(str, words)]
    return subprocess.run(
        command,
        env={**clean, **own, **more},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )


def sentence(done: "subprocess.CompletedProcess[str]", code: int = FULL) -> str:
    """What it says is wrong, in one line."""
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return line


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A home folder on a disk that is too small for servers."""
    home = tmp_path / "small"
    home.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", str(home)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield home
    subprocess.run(["umount", "--lazy", str(home)], check=True)


def test_what_needs_servers_does_not_start_them(small: Path, tmp_path: Path) -> None:
    file = tmp_path / "campaign.yaml"
    file.write_text(yaml.safe_dump(CAMPAIGN))
    for words in (["up"], ["run", file, "--results", tmp_path / "results"], ["dft", "O", "-o", tmp_path / "out.csv"]):
        said = sentence(gapsmith(small, *words))
        assert f"disk of {small} is full" in said
        assert not [one for one in psutil.process_iter() if _in(one, small)]
        assert sorted(tmp_path.iterdir()) == [file, small]


def _in(process: psutil.Process, home: Path) -> bool:
    try:
        return bool(process.environ().get("GAPSMITH_HOME") == str(home) or process.cwd().startswith(str(home)))
    except psutil.Error:
        return False


@pytest.mark.parametrize(
    ("words", "output", "most"),
    [
        (("predict", "molecules.smi"), "out.csv", 512),
        (("generate", "-n", 4, "--steps", 1), "out.sdf", 256),
    ],
)
def test_a_file_that_does_not_fit_is_not_written(
    tmp_path: Path, words: tuple[object, ...], output: str, most: int
) -> None:
    (tmp_path / "molecules.smi").write_text("".join(f"{'C' * (2 + i % 6)}O alcohol-{i}\n" for i in range(6)))
    before = sorted(tmp_path.iterdir())
    given = [tmp_path / word if word == "molecules.smi" else word for word in words]
    out = tmp_path / output
    said = sentence(gapsmith(tmp_path / "home", *given, "-o", out, most=most))
    assert "cannot be written: File too large" in said
    assert str(out) in said or gettempdir() in said  # rows of predictions wait in a temporary file
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "home"] == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("words", [("predict", "CCO"), ("predict", "CCO", "-o", "-"), ("campaign", "schema")])
def test_standard_output_on_a_full_disk(tmp_path: Path, words: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "gapsmith.cli.main", *words]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command,
            env={**os.environ, "GAPSMITH_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=600,
            check=False,
        )
    assert done.returncode == FULL, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: ") == 1
    assert "cannot be written: No space left on device" in done.stderr


def test_a_chunk_of_data_that_does_not_fit_is_computed_again(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    qm9.load()
    for file in Path(os.environ.get("GAPSMITH_CACHE", Path.home() / ".cache" / "gapsmith")).resolve().glob("qm9*"):
        if file.is_file():
            (cache / file.name).symlink_to(file)
    before = sorted(cache.rglob("*"))
    words = ("data", "electronic", "--split", "test", "--molecules", 5, "--workers", 1)  # of which nothing is shipped
    said = sentence(gapsmith(tmp_path / "home", *words, most=256, GAPSMITH_CACHE=str(cache)))
    assert str(cache) in said
    assert "File too large" in said
    assert [
        path for path in sorted(cache.rglob("*")) if path.is_file() and path.stat().st_size and path not in before
    ] == []
    done = gapsmith(tmp_path / "home", *words, GAPSMITH_CACHE=str(cache))
    assert done.returncode == 0, done.stderr


def test_a_label_set_that_does_not_fit(tmp_path: Path) -> None:
    (tmp_path / "two.csv").write_text("smiles\nCCSCC\nC1=CSC=C1C\n")
    pool = f"table:{tmp_path / 'two.csv'}"
    words = ("data", "make", "few", "--pool", pool, "--molecules", 2, "--into", tmp_path / "labels")
    said = sentence(gapsmith(tmp_path / "home", *words, most=64))
    assert str(tmp_path / "labels") in said
    assert "File too large" in said
    done = gapsmith(tmp_path / "home", *words)
    assert done.returncode == 0, done.stderr


def test_results_of_dft_and_of_a_campaign_are_kept_in_the_database(service_folder: Path, tmp_path: Path) -> None:
    home, file, out = service_folder / f"full-{uuid4().hex[:6]}", tmp_path / "campaign.yaml", tmp_path / "out.csv"
    file.write_text(yaml.safe_dump(CAMPAIGN))
    try:
        up = gapsmith(home, "up")
        assert up.returncode == 0, up.stderr
        words = ("dft", "O", "CO", "--level", "xtb", "-o", out)
        assert f"{out} cannot be written: File too large" in sentence(gapsmith(home, *words, most=64))
        assert sorted(tmp_path.iterdir()) == [file]
        done = gapsmith(home, *words)
        assert done.returncode == 0, done.stderr
        assert "0.0 CPU-seconds" in done.stderr  # nothing was computed again
        assert out.read_text().count("done") == 2

        run = ("run", file, "--results", tmp_path / "results")
        said = sentence(gapsmith(home, *run, most=64))
        assert str(tmp_path / "results") in said
        assert "File too large" in said
        report = gapsmith(home, "report", "tiny", "--results", tmp_path / "results")
        assert report.returncode == 0, report.stderr
        assert (tmp_path / "results" / "report.md").stat().st_size > 0
    finally:
        gapsmith(home, "down")
        EmbeddedStack(home).down()
