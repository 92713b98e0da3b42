"""A real analysis on real climate data, small enough for a laptop, for any cluster that a client can reach.

Importing this loads neither Dask nor any package of the ``demo`` extra: the command line can name it without paying.

::

    result = compute(client)
    print(result)
    draw(result, Path("warming.png"))
"""

from __future__ import annotations

from .climate import (
    ClimateResult,
    Extreme,
    Figures,
    Period,
    ScenarioFigures,
    Scenarios,
    compute,
    missing_packages,
    open_scenarios,
)
from .picture import check_destination, draw

__all__ = [
    "ClimateResult",
    "Extreme",
    "Figures",
    "Period",
    "ScenarioFigures",
    "Scenarios",
    "check_destination",
    "compute",
    "draw",
    "missing_packages",
    "open_scenarios",
]
