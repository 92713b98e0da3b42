"""What the tests of notebooks need of the machine."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

MODULES = (
    "bokeh",
    "cryptography",
    "dask_labextension",
    "ipywidgets",
    "jupyter_server_proxy",
    "jupyterlab",
    "playwright",
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def missing() -> str:
    """Why there can be no browser with a JupyterLab in it; empty where there can."""
    if absent := [module for module in MODULES if find_spec(module) is None]:
        return f'{", ".join(absent)} cannot be imported: pip install ".[browser]"'
    return "" if CHROMIUM else "there is no chromium: apt-get install --no-install-recommends chromium"


def no_hub() -> str:
    """Why there can be no JupyterHub; empty where there can."""
    if find_spec("jupyterhub") is None:
        return "jupyterhub cannot be imported: pip install jupyterhub"
    return (
        ""
        if shutil.which("configurable-http-proxy")
        else "no configurable-http-proxy: npm install -g configurable-http-proxy"
    )
