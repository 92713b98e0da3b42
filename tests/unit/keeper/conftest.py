"""A store of its own for each test, and one cluster that is written down in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusterhub.keeper.record import Record
from clusterhub.keeper.records import Store

from .writing import record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state")


@pytest.fixture
def eddies(store: Store) -> Record:
    """A cluster that is written down."""
    claimed = record()
    store.claim(claimed)
    return claimed
