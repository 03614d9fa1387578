"""Fetches the browser libraries of the dashboard from npm: ``make vendor``.

Writes ``static/vendor`` with a manifest (package, version, licence, SHA-256 of each file) and axe-core for the tests. What is
fetched must have the digest that the manifest has, unless ``--update`` says that a version was changed on purpose.
"""

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
STATIC = HERE / "gapsmith" / "dashboard" / "static" / "vendor"
TESTS = HERE.parents[1] / "tests" / "data" / "axe-core"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Asset:
    """A file of an npm package."""

    package: str
    version: str
    path: str  # in the package
    name: str  # here
    folder: Path = STATIC
    licence: str | None = None  # where package.json does not say it


ASSETS = (
    Asset("htmx.org", "2.0.11", "dist/htmx.min.js", "htmx.min.js"),
    Asset("htmx-ext-sse", "2.2.4", "sse.js", "sse.js", licence="0BSD"),
    Asset("idiomorph", "0.7.4", "dist/idiomorph-ext.min.js", "idiomorph-ext.min.js"),
    Asset("@alpinejs/csp", "3.15.12", "dist/cdn.min.js", "alpine-csp.min.js"),
    Asset("plotly.js-basic-dist-min", "3.7.0", "plotly-basic.min.js", "plotly-basic.min.js"),
    Asset("3dmol", "2.5.5", "build/3Dmol-min.js", "3Dmol-min.js"),
    Asset("axe-core", "4.14.1", "axe.min.js", "axe.min.js", TESTS),
)


def main() -> None:
    """Fetch everything, or stop at the first file that is not what it was."""
    update = "--update" in sys.argv[1:]
    for folder in dict.fromkeys(asset.folder for asset in ASSETS):
        folder.mkdir(parents=True, exist_ok=True)
        known = _known(folder)
        entries = [fetch(asset) for asset in ASSETS if asset.folder == folder]
        for entry in entries:
            old = known.get(str(entry["file"]))
            if old is not None and old != entry["sha256"] and not update:
                sys.exit(
                    f"{entry['file']} of {entry['package']} is not what it was; vendor.py --update takes the new one"
                )
        (folder / MANIFEST).write_text(json.dumps(entries, indent=1) + "\n")
        print(f"{folder}: {len(entries)} files, {sum(int(str(e['bytes'])) for e in entries) / 1e6:.1f} MB")


def fetch(asset: Asset) -> dict[str, object]:
    """Write one file; returns its entry of the manifest."""
    with tempfile.TemporaryDirectory() as name:
        packed = subprocess.run(
            ["npm", "pack", "--silent", f"{asset.package}@{asset.version}"],
            cwd=name,
            check=True,
            capture_output=True,
            text=True,
        )
        with tarfile.open(Path(name) / packed.stdout.split()[-1]) as archive:
            content = _member(archive, asset.path)
            about = json.loads(_member(archive, "package.json"))
    (asset.folder / asset.name).write_bytes(content)
    return {
        "file": asset.name,
        "package": asset.package,
        "version": about["version"],
        "licence": asset.licence or about["license"],
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }


def _member(archive: tarfile.TarFile, path: str) -> bytes:
    found = archive.extractfile(f"package/{path}")
    assert found is not None  # a file, as the table of assets says
    return found.read()


def _known(folder: Path) -> dict[str, str]:
    try:
        return {entry["file"]: entry["sha256"] for entry in json.loads((folder / MANIFEST).read_text())}
    except FileNotFoundError:
        return {}


if __name__ == "__main__":
    main()
