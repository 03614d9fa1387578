"""One rank of a store: fetches what it reads on its input, and says what came back and how long it took."""

import gc
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from gapsmith.core.errors import GapsmithError
from gapsmith.datastore.distributed import DistributedStore
from gapsmith.datastore.secret import token
from gapsmith.datastore.shards import Index


def exchange(folder: Path, rank: int, ranks: int, message: bytes) -> list[bytes]:
    """Messages of all ranks as files in a folder."""
    partial = folder / f"{rank}.partial"
    partial.write_bytes(message)
    partial.replace(folder / str(rank))
    until = time.monotonic() + 120
    while not all((folder / str(other)).is_file() for other in range(ranks)):
        if time.monotonic() > until:
            sys.exit("the other ranks did not come")
        time.sleep(0.01)
    return [(folder / str(other)).read_bytes() for other in range(ranks)]


def used() -> int:
    """Bytes of this process's own memory."""
    gc.collect()
    return int(psutil.Process().memory_full_info().uss)


def main() -> None:
    """Until the input ends."""
    shards, meeting, rank, ranks, settings = sys.argv[1:]
    index, before = Index.read(Path(shards)), used()
    store = DistributedStore(
        index,
        rank=int(rank),
        ranks=int(ranks),
        exchange=lambda message: exchange(Path(meeting), int(rank), int(ranks), message),
        token=token(),
        **json.loads(settings),
    )
    tell({"samples": len(store.held), "bytes": store.held.nbytes, "used": used() - before})
    for line in sys.stdin:
        started = time.monotonic()
        try:
            found = store.fetch(np.array(json.loads(line)))
            answer: dict[str, Any] = {"digest": hashlib.sha256(b"".join(found.views())).hexdigest()}
        except GapsmithError as error:
            answer = {"error": str(error), "kind": type(error).__name__}
        tell({**answer, "took_s": time.monotonic() - started, "lost": list(store.lost)})
    store.close()


def tell(answer: dict[str, Any]) -> None:
    """One line to whoever started this."""
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
