"""What people call: ``gapsmith predict``, ``gapsmith evaluate surrogate`` and ``gapsmith data xtb``."""
