"""Migrations form one chain, numbered as they follow one another; a revision is called like its file."""

import re
from pathlib import Path

from gapsmith.store import migrate

VERSIONS = Path(migrate.__file__).parent / "migrations" / "versions"


def test_each_migration_follows_the_one_before() -> None:
    files = sorted(VERSIONS.glob("0*.py"))
    numbers = [file.name[:4] for file in files]
    assert numbers == [f"{number:04}" for number in range(1, len(files) + 1)]
    before = "None"
    for file in files:
        text = file.read_text()
        assert re.findall(r"^revision = (.*)$", text, re.MULTILINE) == [f'"{file.stem}"'], file.name
        assert re.findall(r"^down_revision = (.*)$", text, re.MULTILINE) == [before], file.name
        before = f'"{file.stem}"'
