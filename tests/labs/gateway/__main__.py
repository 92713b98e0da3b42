"""By hand: ``up``, ``show``, ``kill``, ``restart`` and ``down``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from labs.gateway import missing
from labs.gateway.lab import PASSWORD_VARIABLE, Gateway, LabError

LAB = "CLUSTERHUB_GATEWAY_LAB"
PROFILE = """\
profiles:
  lab:
    backend: gateway
    gateway:
      address: {address}
      auth: {{type: basic, username: ann, password_variable: {variable}}}
"""
USAGE = """\
A dask-gateway is up at {address}. This profile `lab` is in {config}:

{profile}
Any name is a user's; all have one password. To use it:

{exports}
clusterhub up lab --name eddies --workers 2 --set worker.memory=512MiB --wait
"""


def folder() -> Path:
    """Where the lab is, unless it is said."""
    return Path(os.environ.get(LAB) or Path(tempfile.gettempdir(), f"clusterhub-gateway-{os.geteuid()}"))


def standing(said: argparse.Namespace) -> Gateway:
    """The lab that was brought up before."""
    if not (said.folder / "lab.json").exists():
        raise LabError(f"there is no lab in {said.folder}: bring one up, or name its folder (--folder, or {LAB})")
    return Gateway(said.folder, watched=False)


def up(said: argparse.Namespace) -> None:
    """Start a server, and tell how it is used."""
    if reason := missing():
        raise LabError(reason)
    if (said.folder / "lab.json").exists():
        raise LabError(f"there is a lab in {said.folder} already: show tells of it, down ends it")
    kept = ("database", "options", "tls", "max_workers", "heartbeat")
    settings = {name: value for name in kept if (value := getattr(said, name)) is not None}
    gateway = Gateway(said.folder, watched=False, **settings)
    try:
        gateway.start()
    except LabError:
        gateway.forget()
        raise
    tell(gateway)


def tell(gateway: Gateway) -> None:
    """How it is used."""
    config = gateway.folder / "clusterhub.yaml"
    profile = PROFILE.format(address=gateway.address, variable=PASSWORD_VARIABLE)
    config.write_text(profile, encoding="utf-8")
    variables = {"CLUSTERHUB_CONFIG": str(config), **gateway.environment()}
    exports = "\n".join(f"export {name}={value}" for name, value in variables.items())
    print(USAGE.format(address=gateway.address, config=config, profile=profile, exports=exports), end="")


def show(said: argparse.Namespace) -> None:
    """What there is of it: its server, and its clusters with their processes."""
    gateway = standing(said)
    server = gateway.server()
    print(f"{gateway.address}  server {server or 'gone'}  {gateway.settings.database}  log {gateway.log}")
    for cluster, user in sorted({(one.cluster, one.user) for one in gateway.processes() if one.cluster}):
        print(f"{cluster}  {user}  scheduler {gateway.scheduler(cluster) or 'gone'}")
        for worker, pids in gateway.workers(cluster).items():
            print(f"  worker {worker}  {' '.join(map(str, pids))}")


def kill(said: argparse.Namespace) -> None:
    """Kill the server, or a process of a cluster."""
    gateway = standing(said)
    if said.what == "server":
        gateway.kill()
        return
    clusters = sorted({one.cluster for one in gateway.processes() if one.cluster})
    chosen = [name for name in clusters if name.startswith(said.cluster)]
    if len(chosen) != 1:
        raise LabError(f"name one of its clusters: {' '.join(clusters) or 'there is none'}")
    if said.what == "scheduler":
        gateway.kill_scheduler(chosen[0])
    else:
        print(gateway.kill_worker(chosen[0]))


def restart(said: argparse.Namespace) -> None:
    """Start the server again, which is ended before unless it is gone."""
    standing(said).restart()


def down(said: argparse.Namespace) -> None:
    """End it with its clusters, and forget it; only its log stays."""
    gateway = standing(said)
    try:
        gateway.stop()
    finally:
        gateway.forget()


def main() -> None:
    """Do what was said."""
    parser = argparse.ArgumentParser(prog="python -m labs.gateway", description="A real dask-gateway on loopback.")
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument("--folder", type=Path, default=folder(), help=f"where it lives; else {LAB}, else %(default)s")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(does: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        added = commands.add_parser(does.__name__, help=does.__doc__, parents=[place])
        added.set_defaults(does=does)
        return added

    starting = command(up)
    starting.add_argument("--database", choices=["memory", "sqlite"], help="with sqlite clusters outlive the server")
    starting.add_argument("--options", choices=["site", "units", "choices", "bare"], help="what it lets users choose")
    starting.add_argument("--tls", action="store_true", default=None, help="https, with a certificate of its own")
    starting.add_argument("--max-workers", type=int, help="of one cluster")
    starting.add_argument("--heartbeat", type=int, help="seconds; a dead scheduler is noticed after twice as many")
    command(show)
    killing = command(kill)
    killing.add_argument("what", nargs="?", choices=["server", "scheduler", "worker"], default="server")
    killing.add_argument("cluster", nargs="?", default="", help="the beginning of its name; not needed if it is alone")
    command(restart)
    command(down)
    said = parser.parse_args()
    try:
        said.does(said)
    except LabError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
