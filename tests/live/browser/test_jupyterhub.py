"""On a real JupyterHub, with its proxy, in a named server."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from live.browser.hub import Hub
from live.browser.jupyter import LONG, Notebook
from live.browser.needed import no_hub

pytestmark = pytest.mark.timeout(400)


def test_in_a_named_server_the_only_link_leads_through_it_and_opens_the_dashboard(
    notebook: Callable[..., Notebook],
) -> None:
    if reason := no_hub():
        assert "jupyterhub" not in os.environ.get("CLUSTERHUB_LIVE", "").split(","), reason
        pytest.skip(f"{reason}; that notebooks work on a JupyterHub was NOT tested")
    book = notebook(
        "import clusterhub\n\n"
        'cluster = clusterhub.connect("local", name="eddies", workers=1, worker={"memory": "400 MiB"})',
        "cluster",
        kind=Hub,
    )
    book.run_all()
    link = book.output(1).get_by_role("link")
    expect(link).to_have_attribute("href", re.compile(r"^/user/ann/lab2/proxy/\d+/[\w-]{22}/status$"))
    with book.page.context.expect_page() as opened:
        link.click()
    expect(opened.value).to_have_title("Dask: Status", timeout=LONG)
    expect(opened.value.locator("canvas").first).to_be_visible(timeout=LONG)
