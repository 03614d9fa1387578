"""The reference pages list everything that is registered, and what documents tell people to type exists."""

import re
import shlex
from collections.abc import Iterator
from importlib.metadata import distribution, entry_points
from pathlib import Path

import click
import pytest
import yaml
from docs.site import build, reference

from gapsmith.cli.main import cli
from gapsmith.core import columns, properties
from gapsmith.core.campaign import CampaignConfig, parse_campaign
from gapsmith.core.errors import ErrorCode
from gapsmith.core.levels import LevelOfTheory, Levels, shipped
from gapsmith.core.recipes import load as recipes
from gapsmith.core.settings import Settings
from gapsmith.data import sources

DOCUMENTS = sorted([build.ROOT / "README.md", *build.sources()])
PLUGINS = [point.name for group in reference.GROUPS for point in entry_points(group=group)]
COMMANDS = {" ".join(path): command for path, command in reference.commands(cli)}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def first_cells(page: str) -> set[str]:
    """What stands in code marks in the first column of the tables of a page."""
    return {
        name for cell in re.findall(r"^\| ([^|]*) \|", page, re.MULTILINE) for name in re.findall(r"`([^`]+)`", cell)
    }


def test_the_command_line_has_every_command_and_every_option() -> None:
    page = reference.command_line()
    sections = dict(re.findall(r"^## gapsmith (.+)\n((?:(?!^## ).*\n?)*)", page, re.MULTILINE))
    registered = {point.name.replace(".", " ") for point in entry_points(group="gapsmith.commands")}
    assert registered <= {word for name in sections for word in (name, name.rpartition(" ")[0])}
    assert {f"{point.name} serve" for point in entry_points(group="gapsmith.services")} <= set(sections)
    assert set(sections) == set(COMMANDS)
    for name, command in COMMANDS.items():
        options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
        for option in options:
            assert option.opts[0] in sections[name], f"{name} {option.opts[0]}"


def test_the_routes_are_those_of_the_openapi_document() -> None:
    page = reference.rest_api()
    document = reference.openapi()
    for path, operations in document["paths"].items():
        for method in operations:
            assert f"## {method.upper()} {path}\n" in page
    assert {f"### {name}" for name in document["components"]["schemas"]} <= set(page.splitlines())


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("levels", [*shipped(), *recipes(), *LevelOfTheory.model_fields]),
        ("properties", [*properties.registered(), *columns.BY_NAME]),
        ("plugins", [*sources.registered(), *PLUGINS]),
        ("settings", [f"GAPSMITH_{name}".upper() for name in Settings.model_fields]),
        ("codes", [code.value for code in ErrorCode]),
    ],
)  # fmt: skip
def test_a_page_lists_everything_that_is_registered(page: str, names: list[str]) -> None:
    assert set(names) <= first_cells(reference.PAGES[page]())


def test_every_group_of_entry_points_is_documented() -> None:
    ours = {point.group for point in distribution("gapsmith").entry_points if point.group.startswith("gapsmith.")}
    assert ours - set(reference.GROUPS) <= {"gapsmith.weights"}  # files, not code


def test_a_page_that_lists_a_table_keeps_text_that_looks_like_markdown() -> None:
    assert reference._escaped("one_of [a] | *b*") == r"one\_of \[a\] | \*b\*"
    assert reference._table(["a"], [["x|y"]]).splitlines()[-1] == r"| x\|y |"


def commands_of(text: str) -> Iterator[list[str]]:
    """The gapsmith commands in the code blocks of a document, as words."""
    for language, block in FENCE.findall(text):
        if language in ("", "bash", "sh", "console"):
            for line in re.sub(r"\\\n\s*", "", block).splitlines():
                if found := re.match(r"(?:\$ )?(?:\w+=\S+ )*(gapsmith .*?)(?:\s+#.*|\s*&&.*|<<<.*)?$", line.strip()):
                    yield shlex.split(found[1].replace("...", ""))[1:]


def test_commands_are_found_in_documents() -> None:
    assert len(list(commands_of((build.ROOT / "README.md").read_text()))) >= 8
    assert list(commands_of("```\n$ gapsmith dft levels  # all\nX=1 gapsmith up --listen \\\n HOST\n```")) == [
        ["dft", "levels"],
        ["up", "--listen", "HOST"],
    ]
    with pytest.raises(AssertionError, match="--nonsense"):
        check(["dft", "--nonsense"])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(build.ROOT).as_posix())
def test_commands_in_documents_exist_with_their_options(document: Path) -> None:
    for words in commands_of(document.read_text()):
        for alternative in alternatives(words):
            check(alternative)


def alternatives(words: list[str]) -> list[list[str]]:
    """``campaign list | show NAME`` is two commands."""
    if "|" not in words:
        return [words]
    path = [word for word in words[: words.index("|")] if re.fullmatch("[a-z-]+", word)]
    parts = [list(part) for part in _split(words)]
    return [parts[0], *([*path[:-1], *part] for part in parts[1:])]


def _split(words: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for word in words:
        if word == "|":
            yield part
            part = []
        else:
            part.append(word)
    yield part


def check(words: list[str]) -> None:
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None or command.invoke_without_command, f"gapsmith has no command {' '.join(words)}"
        if found is None:
            break
        command, words = found, words[1:]
    known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help", "-h"}
    for word in words:
        option = word.partition("=")[0]
        if re.fullmatch(r"-[a-zA-Z]|--[a-z][a-z0-9-]*", option):
            assert option in known, f"gapsmith {command.name} has no option {option}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(build.ROOT).as_posix())
def test_yaml_in_documents_is_valid(document: Path, tmp_path: Path) -> None:
    for language, block in FENCE.findall(document.read_text()):
        if language != "yaml":
            continue
        raw = yaml.safe_load(block)
        if set(raw) >= {"name", "target"}:
            assert isinstance(parse_campaign(raw), CampaignConfig)
        elif set(raw) == {"levels"}:
            (tmp_path / "levels.yaml").write_text(block)
            assert set(raw["levels"]) <= set(Levels.load(tmp_path / "levels.yaml"))
        elif set(raw) == {"recipes"}:
            (tmp_path / "recipes.yaml").write_text(block)
            assert set(raw["recipes"]) <= set(recipes(tmp_path / "recipes.yaml"))


def test_links_between_files_of_the_repository_become_links_between_pages(tmp_path: Path) -> None:
    page = build.linked(build.ROOT / "services" / "trainer" / "README.md", tmp_path)
    assert "](/security.md)" in page
    page = build.linked(build.DOCS / "dft.md", tmp_path)
    assert "](/files/shared/gapsmith/core/levels.yaml)" in page
    assert (tmp_path / "files/shared/gapsmith/core/levels.yaml").is_file()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(build.ROOT).as_posix())
def test_links_in_documents_lead_to_files(document: Path) -> None:
    prose = FENCE.sub("", document.read_text())
    for link in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", prose):
        assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_contributors_are_sent_to_files_that_exist() -> None:
    text = (build.ROOT / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"`((?:tests|shared|services|docs|compose|benchmarks|requirements)/[^`*]*)`", text)
    assert len(paths) > 20
    assert [path for path in paths if not (build.ROOT / path).exists()] == []
    folders = [build.ROOT / "shared/gapsmith", *build.ROOT.glob("services/*/gapsmith")]
    for path in re.findall(r"`((?:core|store|coordinator|dashboard)/[^`]*)`", text):
        assert any((folder / path).exists() for folder in folders), path
