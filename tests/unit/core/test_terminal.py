"""Data is shown as it is: on a terminal and in a pipe, in tables, panels, bars, status lines and messages."""

import ast
import io
import re
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from gapsmith.core import terminal

DATA = "c1cnc2[nH]ccc2n1 C[O-] [bold]x[/bold] :smile: \x1b]0;owned\x07\x1b[31mred\x9b2J\r"
SHOWN = "c1cnc2[nH]ccc2n1 C[O-] [bold]x[/bold] :smile: \\x1b]0;owned\\x07\\x1b[31mred\\x9b2J\\r"
STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # what rich and click write themselves
SOURCES = sorted(
    path for folder in ("shared", "services") for path in (Path(__file__).parents[3] / folder).rglob("gapsmith/**/*.py")
)
# processes of their own, whose standard output is a log file: `jobs show --log` and the like print it through echo
LOGGED = {
    *(
        "relaxation.py",
        "scf.py",
        "mopac.py",
        "qcengine_engine.py",
        "compute.py",
        "checked.py",
        "ensemble.py",
    ),  # a DFT calculation
    *("base.py", "run.py", "candidate.py", "communicator.py"),  # a rank of a training
    "machine.py",  # what 'gapsmith up' leaves behind
}


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


@pytest.fixture(params=["terminal", "pipe"])
def stream(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What :func:`shown_on` writes to."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("TERM", "xterm-256color")
    return Screen() if request.param == "terminal" else io.StringIO()


def shown_on(stream: io.StringIO, show: Callable[[], None]) -> str:
    """What a person sees of it, without the styles that rich and click add."""
    with redirect_stdout(stream), redirect_stderr(stream):
        show()
    return STYLE.sub("", stream.getvalue())


def rows() -> None:
    terminal.print_rows([{DATA: DATA, "gap": 4.0}], empty="none", title=DATA)


def nothing() -> None:
    terminal.print_rows([], empty=DATA)


def message() -> None:
    terminal.echo(DATA, fg="red", bold=True)


def drawn_panel() -> None:
    with terminal.panel(DATA) as redraw:
        redraw([DATA], notes=[DATA], bar=(1, 2))


def drawn_bar() -> None:
    with terminal.bar(DATA, total=2) as shown:
        shown.note(DATA)
        shown.show(1, 2, words=DATA, label=DATA)


def drawn_status() -> None:
    with terminal.status(DATA) as update:
        update(DATA)


@pytest.mark.parametrize("show", [rows, nothing, message, drawn_panel, drawn_bar, drawn_status])
def test_data_is_never_markup_emoji_or_control(stream: io.StringIO, show: Callable[[], None]) -> None:
    text = shown_on(stream, show)
    if stream.isatty() or show in (rows, nothing, message):
        assert SHOWN in text
    assert not set("\x1b\x07\x9b") & set(text)
    assert "😄" not in text


def test_a_cell_is_one_cell(stream: io.StringIO) -> None:
    text = shown_on(stream, lambda: terminal.print_rows([{"name": "a\tb\nc", "reason": None}], empty="none"))
    assert "a\\tb\\nc" in text
    if not stream.isatty():
        assert text == "name\treason\na\\tb\\nc\t\n"


@pytest.mark.parametrize("character", ["\x1b", "\x7f", "\x85", "\u202e", "\u2066", "\u2028", "\udc80"])
def test_characters_that_steer_a_terminal_are_written_out(character: str) -> None:
    shown = terminal.visible(f"a{character}b")
    assert shown.isascii()
    assert shown.encode().decode("unicode_escape") == f"a{character}b"


def test_ordinary_text_stays() -> None:
    text = "Ä 4.0 ± 0.1 eV, ΔE, 分子\n\tnext"
    assert terminal.visible(text) == text


def printing(tree: ast.AST) -> list[str]:
    """What a module prints with, other than by the terminal's module."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.split(".")[0] == "rich"]
        elif isinstance(node, ast.ImportFrom):
            found += [module] if (module := node.module or "").split(".")[0] == "rich" else []
        elif isinstance(node, ast.Yield | ast.Return | ast.Assign) and node.value is not None:
            found += [text] if (text := ast.unparse(node.value)) in ("sys.stdout", "sys.stderr") else []
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if re.fullmatch(
                r"click\.(echo|secho|confirm|prompt|pause|progressbar)|print|sys\.std(out|err)\.write", called
            ):
                found.append(called)
    return found


def test_nothing_else_prints() -> None:
    assert len(SOURCES) > 200
    for path in SOURCES:
        if path.name not in ("terminal.py", "launch.py"):  # the latter runs before the program that it becomes
            found = printing(ast.parse(path.read_text()))
            assert not found or (path.name in LOGGED and set(found) == {"print"}), f"{path}: {found}"
