"""Packages that other people would publish, laid out on a path as pip would."""

from pathlib import Path


def install(folder: Path, name: str, source: str, group: str, value: str) -> Path:
    """Write a package of one module with one entry point.

    Args:
        folder: a new folder.
        name: of the distribution, its module and its entry point.
        source: of the module.
        group: of the entry point, e.g. gapsmith.properties.
        value: what in the module it names.

    Returns:
        The folder to put on the path.
    """
    folder.mkdir()
    (folder / f"{name}.py").write_text(source)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {name}:{value}\n")
    return folder
