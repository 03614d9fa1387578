"""What people call: ``gapsmith dft``."""
