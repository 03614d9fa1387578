import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from click.testing import CliRunner

from gapsmith.cli.commands import CommandGroup
from gapsmith.cli.main import cli, main
from gapsmith.core.errors import ErrorCode
from gapsmith.core.settings import settings

ROOT = Path(__file__).parents[3]
QUICKSTART = ROOT / "examples" / "quickstart.yaml"


class Ended(NamedTuple):
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def gapsmith(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Ended]]:
    """Runs a command by its entry point, in this process, for the libraries take a second to load."""

    def run(*words: str, home: Path) -> Ended:
        for name in [name for name in os.environ if name.startswith("GAPSMITH_") and name != "GAPSMITH_CACHE"]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("GAPSMITH_HOME", str(home))
        monkeypatch.setattr("sys.argv", ["gapsmith", *words])
        settings.cache_clear()
        with pytest.raises(SystemExit) as ended:
            main()
        return Ended(int(ended.value.code or 0), *capsys.readouterr())

    yield run
    settings.cache_clear()


def commands(group: CommandGroup, *before: str) -> Iterator[list[str]]:
    for name, point in group.points().items():
        yield [*before, name]
        command = point.load()
        if isinstance(command, CommandGroup):
            yield from commands(command, *before, name)


def test_every_command_loads_and_its_help_begins_as_the_list_says() -> None:
    found = list(commands(cli))
    assert ["evaluate", "surrogate"] in found
    assert ["jobs"] in found
    for words in found:
        result = CliRunner().invoke(cli, [*words, "--help"])
        assert result.exit_code == 0, (words, result.output)
        *group, name = words
        listed = " ".join(CliRunner().invoke(cli, [*group, "--help"]).output.split())
        _, _, sentence = result.output.partition("\n\n")
        beginning = " ".join(sentence.partition(".")[0].split())
        assert f"{name} {beginning}" in listed


def test_the_list_of_commands_imports_none_of_them() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from gapsmith.cli.main import cli\n"
        "listed = [CliRunner().invoke(cli, [*words, '--help']) for words in ([], ['evaluate'], ['data'])]\n"
        "assert not any(one.exit_code for one in listed), listed\n"
        "services = ('coordinator', 'dashboard', 'dft_queue', 'generator', 'surrogate', 'trainer')\n"
        "files = [vars(one).get('__file__') or '' for one in sys.modules.values()]\n"
        "loaded = [path for path in files if any(f'/gapsmith/{name}/' in path for name in services)]\n"
        "assert all(path.endswith('__init__.py') for path in loaded), loaded\n"
        "sys.exit(bool({'torch', 'rdkit', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_query_and_jobs_import_neither_torch_nor_rdkit() -> None:
    code = (
        "import sys, gapsmith.cli.query, gapsmith.store.query, gapsmith.stack.stack\n"
        "import gapsmith.dft_queue.cli.jobs, gapsmith.dft_queue.commands.jobs_show, gapsmith.dft_queue.commands.jobs_why\n"
        "import gapsmith.store.jobs, gapsmith.store.job_story\n"
        "sys.exit(bool({'torch', 'rdkit', 'pyscf', 'celery', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_models_import_no_numerical_library() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from gapsmith.cli.main import cli\n"
        "CliRunner().invoke(cli, ['models', 'list', '--help'])\n"
        "from gapsmith.trainer.commands import models_show, models_compare\n"
        "import gapsmith.store.model_story, gapsmith.store.model_choice\n"
        "sys.exit(bool({'torch', 'numpy', 'rdkit', 'safetensors', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_an_unknown_command_suggests_the_nearest(gapsmith: Callable[..., Ended], tmp_path: Path) -> None:
    result = gapsmith("qurey", home=tmp_path)
    assert result.returncode == 2
    assert "did you mean 'query'?" in result.stderr


def test_an_unexpected_error_is_one_sentence_with_a_number_and_a_log(tmp_path: Path) -> None:
    code = (
        "import sys, gapsmith.cli.main as main, gapsmith.stack.stack as stack\n"
        "def broken(self): raise ZeroDivisionError('made for this test')\n"
        "stack.EmbeddedStack.status = broken; sys.argv = ['gapsmith', 'status']; main.main()"
    )
    environment = {"PATH": "/usr/bin:/bin", "GAPSMITH_HOME": str(tmp_path), "HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60, env=environment
    )
    assert result.returncode == ErrorCode.INTERNAL.exit_code
    assert "Traceback" not in result.stdout + result.stderr
    (message,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    log = tmp_path / "logs" / "errors.log"
    assert str(log) in message
    number = re.search(r"number ([0-9a-f]{8})", message)
    assert number is not None
    written = log.read_text()
    assert number[1] in written
    assert "ZeroDivisionError: made for this test" in written
    assert "in broken" in written


def test_exit_codes_are_those_of_the_table(gapsmith: Callable[..., Ended], tmp_path: Path) -> None:
    missing = gapsmith("dft", str(tmp_path / "none.smi"), "--level", "nosuch", home=tmp_path)
    assert missing.returncode == ErrorCode.NOT_FOUND.exit_code
    assert "Traceback" not in missing.stderr


def test_a_dry_run_touches_nothing(gapsmith: Callable[..., Ended], tmp_path: Path) -> None:
    home = tmp_path / "home"
    result = gapsmith("run", str(QUICKSTART), "--dry-run", home=home)
    assert result.returncode == 0, result.stderr
    assert "gap 4 ± 0.2 eV" in result.stdout
    assert "nothing was started or written" in result.stdout
    assert not home.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"budgett": {}}, ["budgett", "did you mean 'budget'"]),
        ({"constraints": {"forbidden_smarts": ["[C"]}}, ["constraints.forbidden_smarts", "[C"]),
        ({"constraints": {"elements": ["C"], "required_smarts": ["[#7]"]}}, ["required_smarts", "[#7]"]),
        ({"constraints": {"elements": ["C", "Si"]}}, ["constraints.elements", "generator does not know Si"]),
        ({"constraints": {"heavy_atoms": [4, 12]}}, ["constraints.heavy_atoms", "[4, 12]", "surrogate", "1 to 9"]),
    ],
)
def test_a_wrong_file_is_explained_and_nothing_is_started(
    gapsmith: Callable[..., Ended], tmp_path: Path, change: dict[str, object], words: list[str]
) -> None:
    file = tmp_path / "campaign.yaml"
    file.write_text(yaml.safe_dump({"name": "wrong", "target": {"value": 4.0}, **change}))
    home = tmp_path / "home"
    result = gapsmith("run", str(file), home=home)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    for word in [str(file), *words]:
        assert word in result.stderr
    assert not home.exists()


def test_a_target_outside_the_models_knowledge_warns(gapsmith: Callable[..., Ended], tmp_path: Path) -> None:
    file = tmp_path / "campaign.yaml"
    file.write_text(yaml.safe_dump({"name": "far", "target": {"value": 1.0}}))
    result = gapsmith("run", str(file), "--dry-run", home=tmp_path / "home")
    assert result.returncode == 0
    assert "warning: target: gap" in result.stderr


def test_the_documents_are_those_of_the_model() -> None:
    runner = CliRunner()
    written = (ROOT / "docs" / "campaign.schema.json").read_text()
    assert json.loads(runner.invoke(cli, ["campaign", "schema"]).output) == json.loads(written)
    table = runner.invoke(cli, ["campaign", "schema", "--markdown"]).output
    assert table == (ROOT / "docs" / "campaign.md").read_text()
