"""A JupyterHub of one user, who has a named server beside her own."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page

from live.browser.jupyter import LONG, TOKEN, Jupyter, free_port

USER, SERVER = "ann", "lab2"

CONFIG = """
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy}"
c.ConfigurableHTTPProxy.pid_file = "{home}/proxy.pid"
c.JupyterHub.db_url = "sqlite://"
c.JupyterHub.cookie_secret_file = "{home}/cookie-secret"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "{password}"
c.Authenticator.allowed_users = {{"{user}"}}
c.JupyterHub.allow_named_servers = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{home}"
c.Spawner.args = ["--allow-root"]
c.Spawner.notebook_dir = "{home}/work"
c.Spawner.default_url = "/lab"
c.Spawner.start_timeout = c.Spawner.http_timeout = 120
"""


class Hub(Jupyter):
    """A JupyterHub on loopback with its proxy; its users' servers are processes of ours, in the same home."""

    def __init__(self, home: Path) -> None:
        self.base, self.port = f"/user/{USER}/{SERVER}/", free_port()
        config = home / "jupyterhub_config.py"
        config.write_text(
            CONFIG.format(port=self.port, hub=free_port(), proxy=free_port(), home=home, password=TOKEN, user=USER)
        )
        self._start(home, "jupyterhub", "-f", str(config), answers="/hub/api", environment={})

    def visit(self, page: Page, name: str) -> None:
        """Log in, start the named server, and open the notebook there."""
        page.goto(f"http://127.0.0.1:{self.port}/hub/login")
        page.locator("input[name=username]").fill(USER)
        page.locator("input[name=password]").fill(TOKEN)
        page.locator("#login_submit").click()
        page.goto(f"http://127.0.0.1:{self.port}/hub/spawn/{USER}/{SERVER}")
        page.wait_for_url(re.compile(f"{self.base}lab"), timeout=2 * LONG)
        page.goto(f"{self.url}lab/tree/{name}?reset")
