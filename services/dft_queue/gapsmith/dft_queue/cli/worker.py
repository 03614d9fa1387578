"""``gapsmith worker``: DFT workers of this machine for the campaigns of another one."""

import sys
from getpass import getpass
from importlib.metadata import entry_points
from pathlib import Path

import click

from gapsmith.core.errors import InputError


@click.command()
@click.option("--join", required=True, metavar="HOST[:PORT]", help="Where 'gapsmith up --listen' runs.")
@click.option("--workers", type=click.IntRange(1, 1024), metavar="N", help="Calculations at a time.  [2]")
def worker(join: str, workers: int | None) -> None:
    """Compute for the campaigns of another machine until Ctrl-C.

    'gapsmith up --listen' prints the whole command there. The key is read from standard input, or asked for; it is kept in
    the home folder, so that it is needed once.
    """
    from gapsmith.core.settings import settings
    from gapsmith.core.terminal import echo
    from gapsmith.stack.gateway import address
    from gapsmith.stack.joining import Joined
    from gapsmith.stack.state import make_home, write_private

    host, port = address(join)
    own = settings()
    make_home(own.home)
    kept = own.home / f"joined-{host.replace(':', '_')}-{port}"
    key = _key(kept)
    with Joined(host, port, key) as joined:
        write_private(kept, key)
        connected = joined.apply(own)
        if workers is not None:
            connected = connected.model_copy(update={"dft_workers": workers})
        echo(f"computing for {host}:{port}, {connected.dft_workers} calculations at a time; Ctrl-C ends it", err=True)
        (service,) = entry_points(group="gapsmith.services", name="dft_worker")
        service.load()(connected)


def _key(kept: Path) -> str:
    """From standard input, else the one that was used last, else asked for.

    Raises:
        InputError: there is none, and nobody to ask.
    """
    asked = sys.stdin is not None and sys.stdin.isatty()
    said = "" if asked or sys.stdin is None else sys.stdin.readline(200).strip()
    if not said and kept.exists():
        return kept.read_text().strip()
    if not said and not asked:
        raise InputError(
            "standard input has no key: give the whole command that 'gapsmith up --listen' prints, with <<< KEY"
        )
    return said or getpass("Key: ")
