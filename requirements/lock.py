"""Write the lock files of this folder: ``make lock``. Versions stay as they are unless ``pyproject.toml`` asks for others.

uv resolves for every platform and Python from 3.11 on, and takes the hashes from the package index. Torch has one version but
many builds, each on an index of its own. The one of the package index needs CUDA's libraries, which stand in a file of their
own; builds that lie in a local folder (``--find-links`` of pip's configuration) stand in ``local.txt`` and are tried first.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parent / "pyproject.toml"
BUILD = "hatchling\neditables\n"  # which the package itself is built with
CUDA = re.compile(r"(nvidia|cuda)-|triton==")
FILES = {  # extras of each; a file has what those above it do not have
    "install": [],
    "embedded": ["embedded"],
    "horovod": ["embedded", "horovod-build"],
    "dev": ["embedded", "horovod-build", "dev"],
    "docs": ["embedded", "horovod-build", "dev", "docs"],
}
TITLE = "# Written by 'make lock'; to be installed with --require-hashes --no-deps.\n"


def main() -> None:
    """Resolve with everything, then the smaller sets with the same versions."""
    present = [entry for name in (*FILES, "cuda") for entry in _entries(HERE / f"{name}.txt")]
    everything = {_name(entry): entry for entry in resolve(FILES["docs"], present, "--generate-hashes")}
    _write("cuda", [entry for entry in everything.values() if CUDA.match(entry)])
    if local := _local_builds(entry.split(" ")[0] for entry in everything.values()):
        _write("local", local)
    written: set[str] = set()
    for name, extras in FILES.items():
        wanted = {_name(entry) for entry in resolve(extras, list(everything.values()))} - written
        _write(name, [entry for one, entry in everything.items() if one in wanted and not CUDA.match(entry)])
        written |= wanted


def resolve(extras: list[str], known: list[str], *options: str) -> list[str]:
    """Requirements, each a text of one or several lines."""
    with tempfile.TemporaryDirectory() as folder:
        build, constraints, out = (Path(folder) / name for name in ("build.in", "constraints.txt", "out.txt"))
        build.write_text(BUILD)
        constraints.write_text("".join(f"{entry.split(' ')[0]}\n" for entry in known))
        options += tuple(f"--extra={extra}" for extra in extras)
        options += ("--universal", "--python-version=3.11", "--no-header", "--no-annotate", "--quiet")
        options += ("--fork-strategy=fewest",)  # one version of each package for all platforms and Pythons
        command = [sys.executable, "-m", "uv", "pip", "compile", *options, "-c", constraints, "-o", out, PROJECT, build]
        subprocess.run([str(word) for word in command], check=True)
        return _entries(out)


def _entries(path: Path) -> list[str]:
    text = path.read_text() if path.exists() else ""
    return [entry for entry in re.split(r"\n(?=\S)", text.strip()) if entry and not entry.startswith("#")]


def _name(entry: str) -> str:
    return entry.partition("==")[0]


def _local_builds(names: Iterable[str]) -> list[str]:
    """Builds such as ``torch-2.13.0+cpu-...whl``, which are other files of the same version."""
    found = []
    for folder in _pip_folders():
        for name in names:
            for wheel in sorted(folder.glob(f"{name.replace('-', '_').replace('==', '-')}+*.whl")):
                digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
                local = wheel.name.split("-")[1].partition("+")[2]
                found.append(f"{name}+{local} \\\n    --hash=sha256:{digest}")
    return found


def _pip_folders() -> list[Path]:
    said = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    found = re.findall(r"find-links='([^']*)'", said.stdout)
    return sorted({Path(word) for words in found for word in words.split() if Path(word).is_dir()})


def _write(name: str, entries: list[str]) -> None:
    (HERE / f"{name}.txt").write_text(TITLE + "\n".join(entries) + "\n")


if __name__ == "__main__":
    main()
