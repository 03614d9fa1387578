"""Starts the ranks of a training on this machine: ``python -m gapsmith.trainer.ranks PROCESSES FOLDER -- COMMAND``.

The ranks find each other through a file in a folder that only its owner can open. torch's own launcher would listen on
every interface, without a secret, and unpickle what it is sent.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gapsmith.stack.launch import launched

STORE: Final = "GAPSMITH_TRAINER_STORE"  # the file
POLL_S: Final = 0.1


def private_folder(folder: Path) -> Path:
    """A new, empty folder inside, which only its owner can open, for what the ranks of one start share."""
    private = folder.absolute() / "rendezvous"
    shutil.rmtree(private, ignore_errors=True)
    private.mkdir(parents=True, mode=0o700)
    return private


def run(processes: int, folder: Path, command: Sequence[str]) -> int:
    """Run a command in so many processes; the first exit code other than 0, after which the others are ended."""
    private = private_folder(folder)
    size = {"WORLD_SIZE": str(processes), STORE: str(private / "store")}
    argv = launched(command, die_with=os.getpid())
    ranks = [
        subprocess.Popen(argv, env={**os.environ, **size, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(processes)
    ]
    try:
        while True:
            codes = [rank.poll() for rank in ranks]
            if failed := [code for code in codes if code]:
                return failed[0] if failed[0] > 0 else 128 - failed[0]
            if None not in codes:
                return 0
            time.sleep(POLL_S)
    finally:
        for rank in ranks:
            rank.kill()
        for rank in ranks:
            rank.wait()
        shutil.rmtree(private, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command of the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="gapsmith.trainer.ranks")
    parser.add_argument("processes", type=int)
    parser.add_argument("folder", type=Path, help="of the training")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    return run(options.processes, options.folder, options.command)


if __name__ == "__main__":
    sys.exit(main())
