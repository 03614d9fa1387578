"""What people call: ``gapsmith generate`` and ``gapsmith regrow``."""
