"""The dashboard in a real browser, headless Chromium. Skipped where it is not installed."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from dashboard_site import NAME, Site, label
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from gapsmith.store.database import Connection

CHROMIUM = shutil.which("chromium")
AXE = Path(__file__).resolve().parents[2] / "data" / "axe-core" / "axe.min.js"
GRAPHICS = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")  # WebGL without a graphics card
LONG_MS = 30_000  # a busy machine
expect.set_options(timeout=LONG_MS)

pytestmark = [
    pytest.mark.service,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *GRAPHICS])
        yield started
        started.close()


HARMLESS = (
    "GPU stall",
    "htmx:sendAbort",  # a request that a newer one of the same form replaced; htmx logs it as an error,
    "htmx:afterRequest",  # and this after each error, whose own event is logged too
)


@pytest.fixture
def context(browser: Browser, filled: Site) -> Iterator[BrowserContext]:
    """A browser's window that must stay quiet: no console errors, no request to another server."""
    troubles: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(part in message.text for part in HARMLESS):
            troubles.append(f"{message.type}: {message.text}")

    new = browser.new_context(base_url=filled.url, viewport={"width": 1280, "height": 900}, accept_downloads=True)
    new.set_default_timeout(LONG_MS)
    new.on("console", heard)
    new.on("weberror", lambda error: troubles.append(f"exception: {error.error}"))
    new.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((filled.url, "data:", "blob:"))
            else troubles.append(f"request to {request.url}")
        ),
    )
    yield new
    new.close()
    assert troubles == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


def scored(connection: Connection) -> tuple[UUID, UUID, UUID]:
    row = connection.execute(
        "SELECT id, campaign_id, relaxed_conformer_id AS conformer FROM candidates WHERE state = 'scored' LIMIT 1"
    ).fetchone()
    assert row is not None
    return row["id"], row["campaign_id"], row["conformer"]


def test_a_campaign_is_started_from_the_form(page: Page, filled: Site) -> None:
    page.goto(f"/sign-in?key={filled.key()}")
    expect(page).to_have_url(re.compile("/$"))
    page.get_by_role("link", name="New campaign").click()
    page.get_by_label("Name", exact=False).first.fill("in-the-browser")
    page.get_by_label("Wanted value").fill("4.2")
    page.get_by_label("DFT jobs").fill("7")
    page.get_by_role("button", name="Start the campaign").click()
    expect(page).to_have_url(re.compile("/campaigns/in-the-browser$"), timeout=LONG_MS)
    expect(page.get_by_role("heading", level=1)).to_have_text("in-the-browser")
    expect(page.locator("#region-state")).to_contain_text("4.2 ± 0.1 eV", timeout=LONG_MS)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#region-state .pill")).to_have_text("paused", timeout=LONG_MS)
    expect(page.get_by_role("button", name="Pause")).to_be_hidden()
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#region-state .pill")).to_have_text("running", timeout=LONG_MS)


def test_counts_change_while_one_watches(page: Page, filled: Site) -> None:
    page.goto(f"/campaigns/{NAME}")
    expect(page.locator("#live")).to_have_attribute("data-state", "on", timeout=LONG_MS)
    stage = page.locator('[data-stage="dft"]')
    expect(stage).to_have_text("4", timeout=LONG_MS)
    expect(page.locator('[data-chart="hits"] .main-svg').first).to_be_visible(timeout=LONG_MS)
    with filled.database.transaction() as connection:
        candidate, campaign_id, conformer = scored(connection)
        label(connection, campaign_id, candidate, conformer, 4.02)
    expect(stage).to_have_text("5", timeout=LONG_MS)
    expect(page.locator('[data-figure="hits"]')).to_have_text("3", timeout=LONG_MS)
    expect(page.locator("#region-feed li").first).to_contain_text("hit by label (triage)", timeout=LONG_MS)


def test_candidates_are_filtered_and_the_address_says_how(page: Page) -> None:
    page.goto("/candidates")
    rows = page.locator("#results tbody tr")
    expect(rows).to_have_count(7)
    page.get_by_label("Substructure (SMARTS)").fill("C=O")
    page.get_by_label("DFT gap from, eV").fill("3.9")
    page.get_by_role("button", name="Search").click()
    expect(rows).to_have_count(3, timeout=LONG_MS)
    expect(page).to_have_url(re.compile(r"smarts=C%3DO&gap_ev_min=3\.9"), timeout=LONG_MS)
    page.get_by_role("link", name="DFT gap, eV").click()
    expect(page.locator("[aria-sort]")).to_have_text(re.compile("DFT gap, eV"), timeout=LONG_MS)
    page.reload()
    expect(rows).to_have_count(3)
    assert page.locator("#results tbody strong").all_text_contents() == ["4.020", "4.050", "4.600"]
    page.get_by_label("Substructure (SMARTS)").fill("C((")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#results [role=alert]")).to_contain_text("smarts", timeout=LONG_MS)


def test_what_is_selected_is_exported(page: Page, tmp_path: Path) -> None:
    page.goto("/candidates?state=hit")
    page.get_by_label("Select CC=O").check()
    expect(page.locator(".selected")).to_contain_text("1 selected")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    download.value.save_as(tmp_path / "one.csv")
    lines = (tmp_path / "one.csv").read_text().splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("CC=O,")
    page.get_by_role("button", name="clear").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="SDF").click()
    download.value.save_as(tmp_path / "all.sdf")
    assert (tmp_path / "all.sdf").read_text().count("$$$$") == 2


def test_a_molecule_is_turned_in_space(page: Page) -> None:
    page.goto("/candidates?state=certified")
    page.locator(".molecule a").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("CCC=O")
    viewer = page.locator("#viewer")
    expect(viewer).to_have_attribute("data-shown", re.compile("."), timeout=LONG_MS)
    if viewer.get_attribute("data-shown") == "fallback":
        expect(viewer).to_contain_text("no WebGL")
        return
    before = viewer.screenshot()
    viewer.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert viewer.screenshot() != before
    last = viewer.get_attribute("data-shown")
    page.get_by_label("generated").check(force=True)
    expect(viewer).not_to_have_attribute("data-shown", last or "", timeout=LONG_MS)
    expect(page.locator("#similar + div")).not_to_contain_text("Loading", timeout=LONG_MS)


def test_without_webgl_the_drawing_is_enough(browser: Browser, filled: Site) -> None:
    plain = browser.browser_type.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-3d-apis"])
    page = plain.new_page(base_url=filled.url)
    page.goto("/candidates?state=certified")
    page.locator(".molecule a").click()
    expect(page.locator("#viewer")).to_contain_text("no WebGL", timeout=LONG_MS)
    expect(page.locator(".drawing img")).to_be_visible()
    plain.close()


def test_the_page_comes_back_after_the_server_was_away(page: Page, filled: Site) -> None:
    page.goto(f"/campaigns/{NAME}")
    expect(page.locator("#live")).to_have_attribute("data-state", "on", timeout=LONG_MS)
    page.context.set_offline(True)
    with filled.database.transaction() as connection:
        candidate, campaign_id, conformer = scored(connection)
        label(connection, campaign_id, candidate, conformer, 5.0)
    page.context.set_offline(False)
    expect(page.locator('[data-stage="dft"]')).to_have_text("5", timeout=LONG_MS)


def test_colours_are_chosen_and_kept(page: Page) -> None:
    page.goto("/models")
    shade = page.evaluate("getComputedStyle(document.body).backgroundColor")
    button = page.locator("#theme")
    button.click()
    button.click()
    expect(button).to_have_attribute("aria-label", "Colours: dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != shade
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible(context: BrowserContext, scheme: str, filled: Site) -> None:
    with filled.database.transaction() as connection:
        row = connection.execute("SELECT id FROM candidates WHERE state = 'certified'").fetchone()
    assert row is not None
    page = context.new_page()
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    axe = AXE.read_text()
    found = {}
    for path in (
        "/",
        f"/campaigns/{NAME}",
        "/campaigns/new",
        "/candidates",
        f"/candidates/{row['id']}",
        "/models",
        "/health",
    ):
        page.goto(path)
        page.wait_for_load_state("load")
        if path == f"/campaigns/{NAME}":
            page.wait_for_selector("[data-drawn]")
        page.evaluate(axe)  # through the debugger, which the Content-Security-Policy does not bind
        broken = page.evaluate(
            "axe.run().then(found => found.violations.map(one => [one.id, one.nodes.map(n => n.html)]))"
        )
        if broken:
            found[path] = broken
    assert found == {}


@pytest.mark.parametrize("path", ["/", f"/campaigns/{NAME}", "/campaigns/new", "/candidates", "/models", "/health"])
def test_a_phone_sees_everything_without_scrolling_sideways(
    browser: Browser, filled: Site, path: str, tmp_path: Path
) -> None:
    context = browser.new_context(base_url=filled.url, viewport={"width": 390, "height": 844}, is_mobile=True)
    page = context.new_page()
    page.goto(path)
    page.wait_for_timeout(800)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    picture = page.screenshot(path=tmp_path / "phone.png")
    assert len(picture) > 10_000
    context.close()


def test_the_keyboard_is_enough(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    reached = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim()"))
    assert {"Candidates", "New campaign", NAME} <= reached
