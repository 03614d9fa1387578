"""Build the documentation site: ``make docs``. Warnings, dead links and dead anchors are errors.

The sources of the site are laid out in ``build/docs/source``: docs/ as it is, the READMEs of services and the files for
contributors as pages, and the reference pages, which are made from the installed package. Links between files of the
repository become links between pages; other files that are linked are copied.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from docs.site import reference

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"
BUILD: Final = ROOT / "build" / "docs"
PAGES: Final = {  # files outside docs/ that are pages of the site
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "SECURITY.md": "vulnerabilities",
    **{
        f"services/{path.parent.name}/README.md": f"services/{path.parent.name}"
        for path in ROOT.glob("services/*/README.md")
    },
}
LINK: Final = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)\s#]+)(?=[)#])")


def main() -> None:
    """Lay out the sources and run Sphinx; exits with 1 if there is a warning."""
    from sphinx.cmd.build import build_main

    source = BUILD / "source"
    shutil.rmtree(source, ignore_errors=True)
    lay_out(source)
    options = [
        "--fail-on-warning",
        "--keep-going",
        "--quiet",
        "--nitpicky",
        "-b",
        "html",
        "-c",
        str(Path(__file__).parent),
    ]
    code = build_main([*options, "-d", str(BUILD / "doctrees"), str(source), str(BUILD / "html")])
    if code == 0:
        print(f"open {BUILD / 'html' / 'index.html'}")
    sys.exit(code)


def lay_out(folder: Path) -> None:
    """Write all pages and the files that they link to into a new folder."""
    shutil.copytree(DOCS, folder, ignore=shutil.ignore_patterns("site", "__pycache__"))
    for path in sources():
        page = folder / f"{page_of(path)}.md"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(linked(path, folder))
    for name, page_text in reference.PAGES.items():
        page = folder / "reference" / f"{name}.md"
        page.parent.mkdir(exist_ok=True)
        page.write_text(page_text() + "\n")


def sources() -> Iterator[Path]:
    """Every Markdown file that becomes a page."""
    yield from sorted(DOCS.rglob("*.md"))
    yield from (ROOT / name for name in PAGES)


def page_of(path: Path) -> str | None:
    """Name of the page that a file becomes; None if it becomes none."""
    name = path.relative_to(ROOT).as_posix()
    if path.suffix == ".md" and path.is_relative_to(DOCS):
        return path.relative_to(DOCS).with_suffix("").as_posix()
    return PAGES.get(name)


def linked(path: Path, folder: Path) -> str:
    """The text of a file with links that hold in the site; files that are linked and are not pages are copied there.

    A link to a folder, which a site cannot show, becomes plain text. Sphinx reports a link that leads nowhere.
    """
    text = re.sub(
        r"\[([^\]]+)\]\(([^)#\s:]+)\)",
        lambda found: found[1] if (path.parent / found[2]).is_dir() else found[0],
        path.read_text(),
    )

    def target(found: re.Match[str]) -> str:
        aim = Path(os.path.normpath(path.parent / found[1]))
        if not aim.is_file() or not aim.is_relative_to(ROOT):
            return found[0]
        if (page := page_of(aim)) is not None:
            return f"/{page}.md"
        if aim.is_relative_to(DOCS):
            return f"/{aim.relative_to(DOCS).as_posix()}"
        copy = PurePosixPath("files") / aim.relative_to(ROOT).as_posix()
        (folder / copy).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(aim, folder / copy)
        return f"/{copy}"

    return LINK.sub(target, text)


if __name__ == "__main__":
    main()
