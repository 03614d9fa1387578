"""The child process of one calculation: ``python -m gapsmith.dft_queue.child``, started by ``engine.run_in_child``.

Reads the calculation as JSON from standard input and writes its outcome as JSON into a file. Its limits are set before
anything heavy is imported, and it dies with the worker that started it.
"""

import argparse
import ctypes
import errno
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def limit(memory_mb: int, cpu_s: float) -> None:
    """Limit this process's address space and CPU time; no core dumps; die with the parent (Linux)."""
    memory = memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    seconds = max(1, int(cpu_s))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))  # SIGXCPU, later SIGKILL
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def outcome(text: str, memory_mb: int) -> dict[str, Any]:
    """Compute; what came of it as JSON's types: ``{"output": ...}`` or ``{"failure": [class, reason]}``."""
    from gapsmith.core.errors import CalculationError, FailureClass
    from gapsmith.dft_queue.compute import compute
    from gapsmith.dft_queue.jobs import CalculationInput

    try:
        return {"output": compute(CalculationInput.from_json(text), memory_mb=memory_mb).to_dict()}
    except CalculationError as error:
        return {"failure": [error.failure_class, error.reason]}
    except MemoryError:
        reason = f"needs more memory than the limit of {memory_mb} MB; raise GAPSMITH_DFT_MEMORY_MB to try again"
        return {"failure": [FailureClass.POISON, reason]}
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        return {"failure": [FailureClass.TRANSIENT, f"writing a file failed: {error}"]}


def main() -> None:
    """Run the calculation on standard input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outcome", type=Path, required=True, help="file to write")
    parser.add_argument("--memory-mb", type=int, required=True)
    parser.add_argument("--cpu-s", type=float, required=True)
    parser.add_argument("--parent", type=int, required=True, help="process id of the worker")
    options = parser.parse_args()
    limit(options.memory_mb, options.cpu_s)
    if os.getppid() != options.parent:  # it died before the limit was set
        sys.exit(f"the worker {options.parent} is gone")
    result = outcome(sys.stdin.read(), options.memory_mb)
    partial = options.outcome.with_suffix(".partial")
    partial.write_text(json.dumps(result))
    partial.replace(options.outcome)


if __name__ == "__main__":
    main()
