"""A thousand mutated files and arguments over all commands: none may end with a traceback, hang or crash.

Every case runs the command line's own entry point in a fork of this process, with limits of time and memory. Case ``n`` is
the same on every machine: ``python -m benchmarks fuzz`` names those that failed, and ``outcome(n)`` runs one again.
"""

import contextlib
import importlib
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gapsmith.core import children, errors

if TYPE_CHECKING:
    import click

CASES: Final = 1000
ROOT: Final = Path(__file__).parents[1]
AT_ONCE: Final = 2 * (os.cpu_count() or 1)
CPU_S: Final = 60  # of a case
WALL_S: Final = 600.0
MEMORY_MB: Final = 12_000
FINE: Final = frozenset(range(9))  # exit codes of the table in docs/architecture.md
MOLECULES: Final = tuple(sorted((ROOT / "tests/data/cases").glob("*.*")))
TOKENS: Final = (
    "", "-1", "0", "1", "2", "9" * 30, "9" * 5000, "1e999", "nan", "-inf", "true", "null", "~", "{}", "[]", "[[[[",
    "*a", "&a x", "!!python/object/apply:os.system [id]", "\x1b[31m", "\x1b]0;owned\x07", "\u202e", "\ufeff", "\x00",
    "=1+1", "%00", "../../x", "/dev/null", "/", ".", "x" * 300, "\u00e9\u5206\u5b50", "C" * 5000,
    "*.*.*.*.*.*.*.*.*.*.*.*.*.*", "[$(", "C1CC", "[nH]", "CCO", "c1ccncc1", "3.9:4.1", ":", "4:3", "gap",
    "surrogate", "triage", "a,b", "--help", "00000000-0000-0000-0000-000000000000", "90s", "1h30m", "C,N,O", "4-9",
    "os:system", "not.there:At",
)  # fmt: skip
FILES: Final = {  # what a word in braces stands for
    "{molecules}": MOLECULES,
    "{campaign}": tuple(sorted((ROOT / "examples").glob("*.yaml"))),
    "{levels}": (ROOT / "shared/gapsmith/core/levels.yaml",),
    "{weights}": (ROOT / "tests/data/generator-tiny.safetensors",),
    "{config}": (ROOT / "shared/gapsmith/core/levels.yaml", ROOT / "tests/data/generator-tiny.json"),
}
COMMANDS: Final = (  # @ is an argument by chance
    "run {campaign} --dry-run", "run {campaign} --dry-run", "predict {molecules} -o out.csv", "predict {molecules}",
    "predict {molecules} --smiles-column @ --name-column @ --format @", "predict {molecules} --weights {weights}",
    "regrow {molecules} --keep @ -n 1 --steps 1 -o out.sdf",
    "regrow {molecules} --mask @ --mask-atoms @ --mask-fraction @ -n 1 --steps 1 -o out.csv",
    "generate --gap @ -n 1 --steps 1 --elements @ --heavy-atoms @ -o out.smi --weights {weights}",
    "generate -n @ --steps @ --seed @ --temperature @ --guidance @ -o @ --weights {weights}",
    "dft {molecules} --no-wait --level @ -o out.csv", "dft {molecules} --no-wait --levels {levels} --level triage",
    "dft @ --no-wait --charge @ --spin @ --priority @ --workers @", "query --gap @ --smarts @ --state @ --sort gap",
    "query --similar-to @ --min-similarity @ --fields @ --limit @ -o @", "campaign show @", "campaign pause @",
    "campaign extend @ --dft-jobs @ --wall-time @ --wanted-hits @", "campaign list @", "campaign schema @",
    "campaign resume @", "campaign stop @", "campaign target @ @ @",
    "campaign export @ -o @", "campaign clone @ @ --seed @", "campaign audit @",
    "jobs list --state @ --level @ --campaign @ --limit @ --before @",
    "jobs show @ --save @", "jobs why @ @", "jobs retry @", "jobs cancel @ --class @", "jobs priority @ @",
    "models show @ --json", "models compare @ @", "models promote @ --yes --reason @", "models rollback @ --yes",
    "models list --role @", "evaluate generator {molecules} --molecules @ --conditional @ --posebusters @ -o @",
    "evaluate surrogate --weights {weights} --limit @ --split @ -o @",
    "train surrogate -d @ --steps @ --config {config}", "train @ -d run --steps 1 --set @ --seed @",
    "train surrogate -d run --time-budget @ --np @ --threads @ --device @ --split @",
    "train surrogate -d run --resume --start {weights}",
    "data make @ --molecules @ --pool @ --level @ --labels @ --into @", "data electronic --molecules @ --split @",
    "data xtb --molecules @ --workers @", "data import {molecules} --name @ --column @ --level @ --unit @", "data show @",
    "data import {molecules} --name own --column gap_ev --level triage --unit eV", "data list", "data delete @ --yes",
    "report @ --results @", "token create @ --role @ --valid-for @",
    "token revoke @", "token list", "status", "down @", "migrate @", "up @ @", "dashboard @", "generator healthy",
    "dft_worker healthy", "dashboard healthy", "@ serve", "@", "@ @", "campaign delete @ --yes",
    "jobs delete @ --state @ --yes", "jobs export @ -o @", "worker --join @ --workers @", "up --listen @",
    "up --servers-only @", "dft {molecules} --no-wait --recipes {levels} --recipe @",
)  # fmt: skip
WARM: Final = (  # what commands import when they run
    "coordinator.commands.estimate", "coordinator.commands.run", "core.chemistry.screening", "dft_queue.commands.dft",
    "generator.commands.leads", "generator.commands.work", "generator.commands.writing", "generator.evaluation.report",
    "surrogate.predicting", "trainer.commands.train", "trainer.commands.watching",
)  # fmt: skip
VARIABLES: Final = (
    "GAPSMITH_LEASE_S",
    "GAPSMITH_DFT_WORKERS",
    "GAPSMITH_KAFKA_OPTIONS",
    "GAPSMITH_LOG_LEVEL",
    "GAPSMITH_X",
)


class Outcome(NamedTuple):
    """How a case ended."""

    number: int
    arguments: Sequence[str]
    code: int | None  # of its exit; negative for a signal
    fault: str | None  # traceback, hang, crash, exit code, raw output; None: none of them
    seconds: float
    output: str


def measure() -> dict[str, Any]:
    """Run all cases."""
    found = []
    for one in outcomes(range(CASES)):
        found.append(one)
        if one.fault is not None:
            words = " ".join(map(repr, one.arguments))
            print(f"case {one.number}: {one.fault}: gapsmith {words}\n{one.output[-2000:]}", flush=True)
    return {
        "cases": len(found),
        "command_lines": len(COMMANDS),
        "faults": sum(one.fault is not None for one in found),
        "failed": {one.number: one.fault for one in found if one.fault is not None},
        "exit_codes": dict(sorted(Counter(str(one.code) for one in found).items())),
        "slowest_s": round(max(one.seconds for one in found), 1),
    }


def outcome(number: int) -> Outcome:
    """How one case ends."""
    return next(outcomes([number]))


def outcomes(numbers: Iterable[int]) -> Iterator[Outcome]:
    """How some cases end, two for each core at a time."""
    _warm()
    left, running = iter(numbers), list[_Case]()
    while True:
        while len(running) < AT_ONCE and (number := next(left, None)) is not None:
            running.append(_Case(number))
        if not running:
            return
        for case in list(running):
            if (found := case.ended()) is not None:
                running.remove(case)
                yield found
        time.sleep(0.01)


class _Case:
    """A command in a fork of this process."""

    def __init__(self, number: int) -> None:
        chance = random.Random(number)
        self._number, self._started = number, time.monotonic()
        self._folder = tempfile.TemporaryDirectory(prefix="gapsmith-fuzz-", ignore_cleanup_errors=True)
        self._home = Path(self._folder.name)
        self._arguments = _arguments(chance, self._home, number)
        environment = {
            "GAPSMITH_HOME": str(self._home / "home"),
            "GAPSMITH_POSTGRES_URL": "postgresql://nobody@127.0.0.1:1/nothing",
            "GAPSMITH_KAFKA_BOOTSTRAP": "127.0.0.1:1",
            "GAPSMITH_CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
        }
        if number % 10 == 9:
            environment[chance.choice(VARIABLES)] = chance.choice(TOKENS).replace("\0", "")
        self._process = os.fork()
        if self._process == 0:
            _carry_out(self._arguments, environment, self._home)

    def ended(self) -> Outcome | None:
        """How it ended; None if it still runs. What takes too long is ended."""
        seconds = time.monotonic() - self._started
        process, status = os.waitpid(self._process, os.WNOHANG)
        if not process and seconds < WALL_S:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process, signal.SIGKILL)  # with whatever it has left behind
        if not process:
            os.waitpid(self._process, 0)
        code = os.waitstatus_to_exitcode(status) if process else None
        output = self._text(self._home / "output")
        told = self._text(self._home / "home" / "logs" / "errors.log")
        self._folder.cleanup()
        fault = _fault(code, output, told)
        return Outcome(self._number, self._arguments, code, fault, seconds, output + told)

    @staticmethod
    def _text(path: Path) -> str:
        return path.read_text(errors="surrogateescape") if path.is_file() else ""


def _fault(code: int | None, output: str, log: str) -> str | None:
    if code is None or -code in (signal.SIGXCPU, signal.SIGALRM):
        return "hang"
    if code < 0:
        return f"crash by signal {-code}"
    if "Traceback (most recent call last)" in output + log:
        return "traceback"
    if code not in FINE:
        return f"exit code {code}"
    if raw := re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\udc80-\udcff]", output):
        return f"raw output {raw[0]!r}"
    return None


def leaves(command: "click.Command", *path: str) -> "Iterator[tuple[str, click.Command]]":
    """Every command that is not a group, by the words that call it."""
    import click

    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        if (found := command.get_command(context, name)) is not None:
            yield from leaves(found, *path, name)


@cache
def _options() -> dict[str, list[str]]:
    """Options of every command, with an argument if they take one."""
    import click

    from gapsmith.cli.main import cli

    return {
        name: [
            option.opts[0] + (" @" * option.nargs if not option.is_flag else "")
            for option in command.params
            if isinstance(option, click.Option)
        ]
        for name, command in leaves(cli)
    }


def _line(chance: random.Random, number: int) -> str:
    """A command line; every second one with an option more, so that all have their turn."""
    line = COMMANDS[number % len(COMMANDS)]
    more = [options for name, options in _options().items() if options and line.startswith(f"{name} ")]
    return f"{line} {chance.choice(more[0])}" if more and chance.random() < 0.5 else line


def _arguments(chance: random.Random, folder: Path, number: int) -> list[str]:
    words = []
    for word in _line(chance, number).split():
        if word in FILES:
            words.append(str(_mutated(chance, chance.choice(FILES[word]), folder, number)))
        elif word == "@":
            words.append(_token(chance))
        else:
            words.append(word)
    return [word.replace("\0", "") for word in words]  # which no system passes on


def _token(chance: random.Random) -> str:
    token = chance.choice(TOKENS)
    return token + chance.choice(TOKENS) if chance.random() < 0.2 else token


def _mutated(chance: random.Random, source: Path, folder: Path, number: int) -> Path:
    """A copy of a file with some of its bytes changed, in one case of eight none; weights come with their card."""
    path = folder / f"{number}{''.join(source.suffixes[-1:])}"
    content = source.read_bytes()
    if source.suffix == ".safetensors":
        shutil.copy(source.with_suffix(".json"), card := path.with_suffix(".json"))
        if chance.random() < 0.6:
            card.write_bytes(_changed(chance, card.read_bytes()))
    if chance.random() < 7 / 8:
        content = _changed(chance, content)
    path.write_bytes(content)
    return path


def _changed(chance: random.Random, content: bytes) -> bytes:
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        lines = content.split(b"\n")
        at, until = sorted((chance.randrange(len(content) + 1), chance.randrange(len(content) + 1)))
        until = min(until, at + chance.choice((1, 4, 40, 4000)))
        token = chance.choice(TOKENS).encode(errors="replace")
        content = chance.choice(
            (
                content[:at] + content[until:],
                content[:at] + token + content[at:],
                content[:at] + token + content[until:],
                content[:at] + content[at:until] * 2 + content[until:],
                content[:at] + bytes(chance.randrange(256) for _ in range(3)) + content[at + 3 :],
                b"\n".join(chance.sample(lines, len(lines))) if len(lines) < 500 else content[:at],
            )
        )[:2_000_000]
    return content


@cache
def _warm() -> None:
    """Import what the commands import, so that forks have it."""
    import torch

    from gapsmith.surrogate.predictor import Predictor

    torch.set_num_threads(1)
    Predictor.load()
    for name in WARM:
        importlib.import_module(f"gapsmith.{name}")

    _options()


def _carry_out(arguments: Sequence[str], environment: dict[str, str], home: Path) -> None:
    """Run the command in this fork; does not return."""
    code = 70
    try:
        os.setsid()
        output = os.open(home / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, stream in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(source, stream)
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0, "r"), os.fdopen(1, "w"), os.fdopen(2, "w")
        os.chdir(home)
        for name in [name for name in os.environ if name.startswith("GAPSMITH_") and name != "GAPSMITH_CACHE"]:
            del os.environ[name]
        os.environ |= environment
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 5))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MB << 20, MEMORY_MB << 20))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.argv = ["gapsmith", *arguments]
        code = _main()
    except BaseException:
        import traceback

        traceback.print_exc()
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _main() -> int:
    from gapsmith.cli.main import main
    from gapsmith.core.settings import settings
    from gapsmith.store.database import Database
    from gapsmith.trainer import launch

    def refused(*_: Any, **__: Any) -> Any:
        raise errors.UnavailableError("no training is begun here")

    settings.cache_clear()
    children.call = _called  # forks are at hand at once
    launch.supervise = refused
    defaults: Any = Database.__init__.__kwdefaults__
    defaults["timeout_s"] = 0.1
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def _called(function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
    """``children.call`` in a fork of this process."""
    receive, send = os.pipe()
    if (process := os.fork()) == 0:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        name = f"{function.__module__}:{function.__qualname__}"
        request = {"function": name, "arguments": list(arguments), "seconds": seconds}
        with open(send, "w") as stream:
            json.dump(children._answer(json.loads(json.dumps(request))), stream)
        os._exit(0)
    os.close(send)
    with open(receive) as stream:
        text = stream.read()
    os.waitpid(process, 0)
    if not text:
        raise children.Overrun(f"it takes more than {seconds:g} s")
    return children.result(json.loads(text))
