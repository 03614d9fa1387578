"""What the pages read from Postgres beyond what ``gapsmith.store`` has."""
