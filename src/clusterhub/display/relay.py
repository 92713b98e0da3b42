"""Links that open wherever the notebook itself does: through the Jupyter server that started this process as its kernel.

A browser that reaches Jupyter over ``ssh -L`` reaches no other port of that machine; jupyter-server-proxy relays them.
"""

from __future__ import annotations

import json
import os
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path


def through_jupyter(link: str) -> str:
    """The path on the Jupyter server for a link to a port of this machine; empty where there is none that relays it."""
    found = re.fullmatch(r"http://(?:127\.0\.0\.1|localhost):(\d+)(/.*)", link)
    server = _base_url(os.environ.get("JPY_PARENT_PID", "")) if found else ""
    return f"{server}proxy/{found[1]}{found[2]}" if found and server else ""


@cache
def _base_url(process: str) -> str:
    """What the Jupyter server of that process id has written down for others, where it can be taken to relay ports."""
    if not process or find_spec("jupyter_server_proxy") is None:
        return ""
    from jupyter_core.paths import jupyter_runtime_dir

    try:
        said = json.loads(Path(jupyter_runtime_dir(), f"jpserver-{process}.json").read_text(encoding="utf-8"))
        return str(said["base_url"])
    except (OSError, ValueError, KeyError, TypeError):  # a console's kernel, another server, one that left nothing
        return ""
