"""A dashboard on loopback for every test here."""

from dashboard_site import filled, site

__all__ = ["filled", "site"]
