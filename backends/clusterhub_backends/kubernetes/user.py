"""Who we are, for labels: by them people find their own among the clusters of a namespace."""

from __future__ import annotations

import getpass
import os


def user() -> str:
    """The name of the user here; on a hub that of its user, whose pods all run as the same one."""
    return os.environ.get("JUPYTERHUB_USER") or getpass.getuser()
