"""A real JupyterLab in a real browser: headless Chromium of the system, driven by Playwright."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clusterhub.errors import ClusterhubError
from clusterhub.keeper.identity import end
from clusterhub.keeper.records import Store
from live.browser.needed import CHROMIUM, missing

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

    from live.browser.jupyter import Jupyter, Notebook

WIDTH, HEIGHT = 1280, 860
PATIENCE = 30_000  # milliseconds

# test_browser.py says that it cannot, and why.
collect_ignore_glob = ["test_jupyter*.py"] if missing() else []


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        # Without a sandbox, which root has none of; nothing but our own server is looked at.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=1.5)
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


@pytest.fixture
def jupyter(home: Path) -> Iterator[Callable[..., Jupyter]]:
    """Starts servers; they, their kernels and the clusters of this home end with the test."""
    from live.browser.jupyter import Jupyter

    with ExitStack() as stack:

        def started(kind: type[Jupyter] = Jupyter, **said: Any) -> Jupyter:
            server = kind(home, **said)
            stack.callback(server.stop)
            return server

        yield started
    for name in (store := Store.here()).names():
        with suppress(ClusterhubError, ProcessLookupError):
            if (keeper := store.read(name).keeper) is not None:
                end(keeper, signal.SIGKILL)


@pytest.fixture
def notebook(page: Page, jupyter: Callable[..., Jupyter]) -> Callable[..., Notebook]:
    """Opens a notebook of the given cells, in a server of its own."""
    from live.browser.jupyter import Notebook

    def opened(*cells: str, name: str = "analysis.ipynb", **server: Any) -> Notebook:
        return Notebook(page, jupyter(**server), name, cells)

    return opened


@pytest.fixture
def picture(page: Page) -> Callable[..., None]:
    """Keeps what is shown as an image for the documentation, where ``CLUSTERHUB_SCREENSHOTS`` names a folder for them."""
    folder = os.environ.get("CLUSTERHUB_SCREENSHOTS")

    def kept(name: str, what: Page | Locator) -> None:
        if folder:
            page.mouse.move(0, 0)
            what.screenshot(path=Path(folder, f"{name}.png"), animations="disabled", caret="hide")

    return kept
