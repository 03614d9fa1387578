"""Templates, and how numbers, times and molecules are written on every page."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gapsmith.core.units import duration
from gapsmith.dashboard import csrf

NONE: Final = Markup('<span class="none">–</span>')
STATIC: Final = files("gapsmith.dashboard") / "static"


def ev(value: float | None, digits: int = 2) -> str:
    """An energy in eV, with its unit."""
    return NONE if value is None else f"{value:.{digits}f} eV"


def number(value: float | None) -> str:
    """A count with thin spaces between thousands."""
    return NONE if value is None else f"{value:,.0f}".replace(",", "\u2009")


def percent(value: float | None) -> str:
    """A share, with two significant digits at least."""
    if value is None:
        return NONE
    digits = 0 if value >= 0.1 or value == 0 else 1 if value >= 0.01 else 2
    return f"{100 * value:.{digits}f} %"


def decimal(value: float | None, digits: int = 2) -> str:
    """A number without a unit."""
    return NONE if value is None else f"{value:.{digits}f}"


def significant(value: float | None) -> str:
    """A measured number with four significant digits; counts in full."""
    if value is None:
        return NONE
    return f"{value:.0f}" if value.is_integer() else f"{value:.4g}"


def size(count: float) -> str:
    """Bytes, for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def when(moment: datetime | None) -> str:
    """A time; the browser writes it in its user's zone."""
    if moment is None:
        return NONE
    utc = moment.astimezone(UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        utc.isoformat(timespec="milliseconds"), utc.strftime("%Y-%m-%d %H:%M:%S")
    )


@lru_cache(maxsize=64)
def static(name: str) -> str:
    """Address of a static file; it changes with the file, so that browsers may keep it for ever."""
    digest = sha256(STATIC.joinpath(name).read_bytes()).hexdigest()[:12]
    return f"/static/{quote(name)}?v={digest}"


def counted(counts: Mapping[str, int]) -> str:
    """How many of what, in one line."""
    return ", ".join(f"{number(count)} {name}" for name, count in counts.items())


environment = Environment(
    loader=PackageLoader("gapsmith.dashboard"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
environment.filters.update(
    ev=ev,
    number=number,
    percent=percent,
    decimal=decimal,
    significant=significant,
    size=size,
    when=when,
    counted=counted,
    duration=lambda seconds: NONE if seconds is None else duration(seconds),
)
environment.globals.update(static=static)


def render(template: str, **values: Any) -> str:
    """A template as text."""
    return environment.get_template(template).render(**values)


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A whole page, with the token that its forms carry.

    Args:
        request: that is answered.
        template: below ``templates``; extends ``base.html``.
        status: of the response.
        values: of the template.
    """
    token = csrf.token_of(request)
    response = HTMLResponse(
        render(template, path=request.url.path, csrf_token=token, **values), status, headers={"Vary": "HX-Request"}
    )
    csrf.remember(response, token, secure=request.url.scheme == "https")
    return response
