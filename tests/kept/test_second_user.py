"""Another user of the same machine: can neither read, nor connect, nor open a dashboard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

import clusterhub
from clusterhub.keeper import end

OWNER = 100_000 + 2 * os.getpid()  # nobody else's: all of its processes are ended, and another run of this has its own
INTRUDER = OWNER + 1

MAKE = """
import clusterhub
if __name__ == "__main__":
    cluster = clusterhub.connect(
        "local", name="eddies", keep=True, workers=1, worker={"cores": 1, "memory": "512 MiB"},
        environment={"variables": {"API_TOKEN": "s3cr3t-of-a-profile"}},
    )
    cluster.wait(timeout=60)
    print(cluster.dashboard_link, flush=True)
    cluster.close()
"""

INTRUDE = """
import asyncio, json, os, pathlib, ssl, sys, urllib.request, urllib.error
from distributed import Security
from distributed.core import rpc

state, links, ports = json.loads(sys.argv[1])
found = []
for root in [state, *map(str, pathlib.Path(state).parents)][:3]:
    for folder, _, files in os.walk(root):
        for name in files:
            try:
                found.append(("read", name, open(os.path.join(folder, name)).read()[:20]))
            except OSError:
                pass

async def call(address, **security):
    args = Security(**security).get_connection_args("client") if security else None
    link = rpc(address, connection_args=args, timeout=3)
    try:
        found.append(("called", address, str(await asyncio.wait_for(link.identity(), 4))[:80]))
    except BaseException:
        pass
    finally:
        await link.close_rpc()

async def calls():
    own = Security.temporary()
    for port in ports:
        await call(f"tcp://127.0.0.1:{port}")
        await call(f"tls://127.0.0.1:{port}", tls_ca_file=own.tls_ca_file, tls_client_cert=own.tls_client_cert,
                   tls_client_key=own.tls_client_key, require_encryption=True)

asyncio.run(calls())
for port in ports:
    for path in ("/", "/status", "/sitemap.json", "/metrics", "/health", "/info/main/workers.html", "/json/counts.json",
                 "/individual-task-stream", "/statics/css/base.css", "/api/v1/retire_workers", "/eventstream"):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=3) as answer:
                text = answer.read().decode(errors="replace")
                if text.strip() and text.strip() != json.dumps({"paths": ["/sitemap.json"]}):
                    found.append(("http", port, path, text[:80]))
        except (OSError, ValueError):
            pass
print(json.dumps(found))
"""


def as_user(user: int, home: Path, python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this environment's packages as that user, by a Python that this user may execute."""
    foreign = Path(sys.base_prefix)  # of another Python of the same version only its own standard library fits
    entries = [Path(entry or ".").absolute() for entry in sys.path]
    paths = os.pathsep.join(str(entry) for entry in entries if foreign not in (entry, *entry.parents))
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [python, *arguments],
        user=user, group=user, extra_groups=[], cwd=home, env=environment, capture_output=True, text=True, timeout=150,
    )  # fmt: skip


def python_for(user: int) -> str | None:
    """A Python of our version that the user may execute, and that finds our packages; None where there is none."""
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{minor}", f"/usr/local/bin/{minor}"):
        with suppress(OSError):
            if as_user(user, Path("/"), python, "-c", "import distributed, clusterhub, cryptography").returncode == 0:
                return python
    return None


def run_as(user: int, home: Path, program: str, *arguments: str) -> str:
    """What a program of that user prints."""
    python = python_for(user)
    assert python is not None
    script = home / "program.py"
    script.write_text(program)
    script.chmod(0o644)
    done = as_user(user, home, python, str(script), *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def homes(tmp_path: Path):
    """A home for each of the two, below folders that both may pass."""
    if os.geteuid() != 0:
        pytest.skip("only root can be two other users: that they are kept apart was NOT tested")
    if python_for(OWNER) is None:
        pytest.skip("no Python of this version that others may execute: that users are kept apart was NOT tested")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    homes = {}
    for user in (OWNER, INTRUDER):
        homes[user] = tmp_path / str(user)
        homes[user].mkdir(mode=0o755)
        os.chown(homes[user], user, user)
    return homes


def test_another_user_gets_nothing_of_a_kept_cluster(homes, monkeypatch):
    link = run_as(OWNER, homes[OWNER], MAKE).strip()
    state = homes[OWNER] / ".local/state/clusterhub"
    monkeypatch.setenv("CLUSTERHUB_STATE", str(state))
    owners = [process for process in psutil.process_iter() if process.uids().real == OWNER]
    try:
        assert link.count("/") == 4, link
        ports = sorted(
            {c.laddr.port for process in owners for c in process.net_connections("tcp") if c.status == "LISTEN"}
        )
        assert len(ports) >= 4, "scheduler, dashboard, nanny and worker"
        found = json.loads(run_as(INTRUDER, homes[INTRUDER], INTRUDE, json.dumps([str(state), [link], ports])))
        assert [each for each in found if each[:2] != ["read", "program.py"]] == []
        key = (state / "clusters/eddies/tls-key.pem").read_text().splitlines()[1]
        prefix = link.split("/")[3]
        shown = "\n".join(" ".join(process.cmdline()) for process in owners)
        shown += (state / "clusters/eddies/keeper.log").read_text()
        for secret in (key, prefix, "s3cr3t-of-a-profile"):
            assert secret not in shown
        for path in state.rglob("*"):
            assert path.stat().st_mode & 0o077 == 0, path
    finally:
        for process in owners:
            process.kill()


def test_its_owner_may_do_all_of_that(homes, monkeypatch):
    """Or the test above would prove nothing."""
    link = run_as(OWNER, homes[OWNER], MAKE).strip()
    owners = [process for process in psutil.process_iter() if process.uids().real == OWNER]
    try:
        use = f"""
            import urllib.request, clusterhub
            if __name__ == "__main__":
                page = urllib.request.urlopen("{link}", timeout=20).read().decode()
                with clusterhub.attach("eddies") as cluster:
                    print(len(page) > 1000, cluster.report().connected, "s3cr3t" in str(cluster.report().to_dict()))
                clusterhub.attach("eddies").shutdown()
        """
        assert run_as(OWNER, homes[OWNER], textwrap.dedent(use)).split() == ["True", "1", "False"]
    finally:
        for process in owners:
            if process.is_running():
                process.kill()


def test_nobody_finds_the_clusters_of_another_home(home):
    assert list(clusterhub.clusters()) == []
    with pytest.raises(clusterhub.ConfigError):
        end("eddies")
