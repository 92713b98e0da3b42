"""Every analysis of docs/examples ends with the same result wherever it runs, and whoever makes the cluster."""

from __future__ import annotations

from functools import cache

import pytest

from live.analyses import ANALYSES, Analysis
from live.places import Place

pytestmark = pytest.mark.timeout(900)


@cache
def expected(analysis: Analysis) -> str:
    """Its digest with the cluster that Dask makes for itself."""
    return analysis.without_us(analysis.small)


@pytest.mark.parametrize("analysis", ANALYSES, ids=lambda analysis: analysis.name)
def test_an_analysis_has_the_digest_that_it_has_without_us(place: Place, analysis: Analysis) -> None:
    assert analysis.on(place, analysis.small) == expected(analysis)
