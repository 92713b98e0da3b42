"""``python -m clusterhub`` is the command ``clusterhub``."""

from __future__ import annotations

import sys

from clusterhub.cli import main

if __name__ == "__main__":
    sys.exit(main())
