"""What the fork server imports once, so that a calculation's process starts with everything in memory."""

import gapsmith.dft_queue.compute
import gapsmith.dft_queue.engines.pyscf_engine
import gapsmith.dft_queue.engines.tblite_engine
import gapsmith.dft_queue.relaxation  # noqa: F401  # imported for its effect, like the others
