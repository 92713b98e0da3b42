"""What a Python that a test starts has to know."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def path() -> str:
    """A ``PYTHONPATH`` with which all that can be imported here can be in any folder, as the tests' own backends."""
    return os.pathsep.join(str(Path(entry or ".").absolute()) for entry in sys.path)


def environment(**more: str) -> dict[str, str]:
    """This process's environment with that path, and ``more``."""
    return {**os.environ, "PYTHONPATH": path(), **more}
