"""How a cluster fares, as its caretaker tells whoever lists clusters."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any


def moments(life: Mapping[str, Any]) -> tuple[datetime | None, datetime | None]:
    """Since when it is idle, and when it ends, by the clock here, as far as ``Caretaker.life`` tells."""
    now, idle, ends = datetime.now(UTC), life.get("idle_for"), life.get("ends_in")
    return (
        None if idle is None else now - timedelta(seconds=float(idle)),
        None if ends is None else now + timedelta(seconds=float(ends)),
    )
