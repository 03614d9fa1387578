"""``gapsmith <service> healthy``: what a container's health check asks."""

import socket

from gapsmith.core.errors import UnavailableError
from gapsmith.core.settings import Settings
from gapsmith.store import heartbeats
from gapsmith.store.database import Database

MISSED_BEATS = 6  # so many in a row are no accident
TIMEOUT_S = 5.0


def problem(service: str, settings: Settings) -> str | None:
    """Why a service on this host is not healthy, or None if it is; ``settings`` must name the database."""
    if settings.postgres_url is None:
        return (
            "GAPSMITH_POSTGRES_URL names no database, where heartbeats are; for the embedded one see: gapsmith status"
        )
    url = settings.postgres_url.get_secret_value()
    try:
        with Database(url, connections=1, timeout_s=TIMEOUT_S) as database, database.transaction() as connection:
            here = [one for one in heartbeats.listed(connection) if one.service == service]
            ages = [one.age_s for one in here if one.host == socket.gethostname()]
    except UnavailableError as error:
        return str(error)
    if not ages:
        return f"{service} has no heartbeat on this host"
    if (age_s := min(ages)) > MISSED_BEATS * settings.heartbeat_s:
        return f"{service} was last heard of {age_s:.0f} s ago"
    return None
