"""Pictures of the dashboard for the documentation: ``make screenshots``.

Needs Chromium, a dashboard that runs (``gapsmith up``) and a campaign in it; writes docs/images/dashboard-*.png.
"""

import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from gapsmith.core.errors import GapsmithError, UnavailableError
from gapsmith.core.settings import settings
from gapsmith.stack import dashboard

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
GRAPHICS = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")  # WebGL without a graphics card
WIDE, PHONE = (1280, 860), (390, 844)


def main() -> None:
    """Take all pictures of the newest campaign with hits."""
    address = dashboard.url(settings().home)
    chromium = shutil.which("chromium")
    if address is None:
        raise UnavailableError("no dashboard runs; start it with: gapsmith up")
    if chromium is None:
        raise UnavailableError("Chromium is not installed; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", *GRAPHICS])
        look = browser.new_page(base_url=address)
        look.goto("/candidates?state=hit")
        links = look.locator("table.candidates tbody a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
        campaigns = [link for link in links if link.startswith("/campaigns/")]
        molecules = [link for link in links if re.match(r"/candidates/[0-9a-f-]{36}$", link)]
        if not campaigns:
            raise UnavailableError("no campaign has hits yet; run one: gapsmith run examples/quickstart.yaml")
        certified = look.request.get("/candidates?state=certified").text()
        best = re.findall(r'href="(/candidates/[0-9a-f-]{36})"', certified) or molecules
        look.close()
        name = campaigns[0].removeprefix("/campaigns/")
        for file, path, scheme, size, whole in (
            ("campaigns", "/", "light", (1280, 480), False),
            ("loop", campaigns[0], "light", WIDE, True),
            ("loop-dark", campaigns[0], "dark", WIDE, False),
            ("candidates", f"/candidates?campaign={name}&sort=gap", "light", WIDE, False),
            ("molecule", best[0], "light", WIDE, False),
            ("form", "/campaigns/new", "light", WIDE, False),
            ("health", "/health", "light", WIDE, False),
            ("phone", campaigns[0], "light", PHONE, False),
        ):
            take(browser, f"{address}{path}", IMAGES / f"dashboard-{file}.png", scheme, size, whole)
        browser.close()


def take(browser: Browser, url: str, file: Path, scheme: str, size: tuple[int, int], whole: bool) -> None:
    """One picture, when charts and molecule are drawn."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page = context.new_page()
    page.goto(url)
    page.wait_for_load_state("load")
    for selector in ("[data-charts]", "#viewer"):
        if page.locator(selector).count():
            page.wait_for_selector(f"{selector}[data-drawn], {selector}[data-shown]", timeout=60_000)
    expect(page.locator(".skeleton")).to_have_count(0, timeout=60_000)
    page.wait_for_timeout(1500)
    page.screenshot(path=file, full_page=whole)
    context.close()
    print(f"{file.name}: {file.stat().st_size // 1000} kB")


if __name__ == "__main__":
    try:
        main()
    except GapsmithError as error:
        sys.exit(f"error: {error}")
