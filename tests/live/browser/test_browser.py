"""Says so where notebooks cannot be tested in a browser; the other modules here are left out then."""

from __future__ import annotations

import os

import pytest

from live.browser.needed import missing

NAMED = "browser" in os.environ.get("CLUSTERHUB_LIVE", "").split(",")


def test_there_is_a_browser_to_test_notebooks_in() -> None:
    if reason := missing():
        assert not NAMED, f"CLUSTERHUB_LIVE names browser, and {reason}"
        pytest.skip(f"{reason}; that notebooks work was NOT tested")
