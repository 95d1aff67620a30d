"""Pages as a browser shows them: Debian's Chromium, led by playwright, which is the extra ``browser``."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
"""Kept as files, for people to look at."""

LOOKS = [(width, scheme) for width in (320, 390, 1280) for scheme in ("light", "dark")]
"""Widths in pixels, of small and usual phones and of a screen, each with both colour schemes."""

EXTREMES = [(320, "dark"), (1280, "light")]
"""For what differs little from a page that was seen in all looks."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("browser")


@dataclass
class Tab:
    """A page in the browser, and what was noticed of it.

    Attributes:
        page: playwright's.
        wrong: what was written to the console, and errors of scripts.
        asked: addresses that were asked for.
    """

    page: Any
    wrong: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def go(self, address: str) -> None:
        self.page.goto(address)

    def words(self) -> str:
        return " ".join(self.page.inner_text("body").split())

    def kept(self, name: str) -> None:
        """Take a picture of the whole page."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name.replace(' ', '-')}.png", full_page=True)

    def too_wide(self) -> int:
        """Pixels by which the page is wider than its window; it must scroll up and down only."""
        element = "document.scrollingElement"
        wide: int = self.page.evaluate(f"{element}.scrollWidth - {element}.clientWidth")
        return wide

    def hard_to_use(self) -> list[str]:
        """What axe-core finds, a line each."""
        from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - of the extra

        found = Axe().run(self.page).response["violations"]
        return [f"{one['id']}: {node['html'][:200]} {node['any']}" for one in found for node in one["nodes"]]


OpenTab = Callable[..., Any]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - of the extra

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program, "no chromium is installed"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def open_tab(chromium: Any) -> OpenTab:
    """``with open_tab(width, scheme) as tab``."""

    @contextmanager
    def opened(width: int = 1280, scheme: str = "light") -> Iterator[Tab]:
        context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        tab = Tab(context.new_page())
        tab.page.set_default_timeout(10_000)
        tab.page.on("console", lambda message: tab.wrong.append(f"{message.type}: {message.text}"))
        tab.page.on("pageerror", lambda error: tab.wrong.append(str(error)))
        tab.page.on("request", lambda request: tab.asked.append(request.url))
        try:
            yield tab
        finally:
            context.close()

    return opened
