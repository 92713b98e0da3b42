"""What the lab's server is told: read by ``dask-gateway-server``, which supplies ``get_config``; lab.py sets the environment."""

import os
import sys
from pathlib import Path

from dask_gateway_server.options import Float, Integer, Mapping, Options, Select, String

c = get_config()  # noqa: F821

FOLDER = Path(os.environ["GATEWAY_LAB"])
PUBLIC = os.environ["GATEWAY_LAB_PUBLIC"]
PRIVATE = os.environ["GATEWAY_LAB_PRIVATE"]
GIB = 2**30
DASK = [sys.executable, "-m", "dask"]

# The server. LocalBackend would change the owner of files, and of / as root: only the unsafe one serves tests.
c.DaskGateway.backend_class = "dask_gateway_server.backends.local.UnsafeLocalBackend"
c.DaskGateway.authenticator_class = "dask_gateway_server.auth.SimpleAuthenticator"
c.DaskGateway.address = PRIVATE
c.SimpleAuthenticator.password = os.environ["GATEWAY_LAB_PASSWORD"]  # of every user, whatever the name

# Its proxy: the API, the dashboards and the schedulers, all on one port.
c.Proxy.address = PUBLIC
c.Proxy.proxy_status_period = 1
if os.environ.get("GATEWAY_LAB_TLS"):
    c.Proxy.tls_cert = str(FOLDER / "cert.pem")
    c.Proxy.tls_key = str(FOLDER / "key.pem")
    c.UnsafeLocalBackend.api_url = f"http://{PRIVATE}/api"  # schedulers do not know the certificate

# Where clusters are, and what of the lab's own environment they see.
c.UnsafeLocalBackend.clusters_directory = str(FOLDER / "clusters")
c.UnsafeLocalBackend.inherited_environment = [
    "PATH",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "LANG",
    "LC_ALL",
    "HOME",
    "GATEWAY_LAB",
]
if os.environ.get("GATEWAY_LAB_DATABASE") == "sqlite":
    c.UnsafeLocalBackend.db_url = f"sqlite:///{FOLDER / 'gateway.sqlite'}"
    c.UnsafeLocalBackend.stop_clusters_on_shutdown = False

# What does not start is seen within seconds. Heartbeats are as at sites: a dead scheduler is noticed after twice their period.
c.UnsafeLocalBackend.cluster_status_period = 1
c.UnsafeLocalBackend.worker_status_period = 1
c.UnsafeLocalBackend.check_timeouts_period = 1
c.UnsafeLocalBackend.cluster_heartbeat_period = int(os.environ["GATEWAY_LAB_HEARTBEAT"])
c.UnsafeLocalBackend.cluster_start_timeout = 30
c.UnsafeLocalBackend.worker_start_timeout = 30
c.UnsafeLocalBackend.worker_start_failure_limit = 3
c.UnsafeLocalBackend.sigint_timeout = 5
c.UnsafeLocalBackend.sigterm_timeout = 3

# Clusters.
c.ClusterConfig.scheduler_cmd = [*DASK, "scheduler"]
c.ClusterConfig.worker_cmd = [*DASK, "worker"]
c.ClusterConfig.cluster_max_workers = int(os.environ["GATEWAY_LAB_MAX_WORKERS"])
c.ClusterConfig.adaptive_period = 1


def _later(seconds):
    start = (
        f"import os, sys, time; time.sleep({seconds}); os.execv(sys.executable, [*{DASK!r}, 'worker', *sys.argv[1:]])"
    )
    return [sys.executable, "-c", start]


# What may be wrong with a cluster, by the name of a profile.
PROFILES = {
    "ok": {},
    "broken-worker": {"worker_cmd": [sys.executable, "-c", "import sys; sys.exit('no license for dask on this host')"]},
    "missing-worker": {"worker_cmd": ["/nonexistent/dask-worker"]},
    "broken-scheduler": {"scheduler_cmd": [sys.executable, "-c", "import sys; sys.exit('the scheduler is broken')"]},
    "slow-worker": {"worker_cmd": _later(8)},
}


def site():
    """As most sites have them."""

    def handler(options, user):
        if options.worker_memory > 4 * options.worker_cores:
            raise ValueError(
                f"{user.name}: a worker may have 4 GiB for each of its cores, and {options.worker_memory:g} GiB are asked "
                f"for with worker_cores={options.worker_cores}"
            )
        return {
            "worker_cores": options.worker_cores,
            "worker_memory": int(options.worker_memory * GIB),
            "environment": dict(options.environment),
            "idle_timeout": options.idle_timeout,
            **PROFILES[options.profile],
        }

    return Options(
        Integer("worker_cores", default=1, min=1, max=4, label="Worker Cores"),
        Float("worker_memory", default=1, min=0.25, max=8, label="Worker Memory (GiB)"),
        String("image", default="pangeo/pangeo-notebook:latest", label="Image"),
        Mapping("environment", {}, label="Environment Variables"),
        Float("idle_timeout", default=0, min=0, label="Idle Timeout (s)"),
        Select("profile", list(PROFILES), default="ok", label="Profile"),
        handler=handler,
    )


def units():
    """Other names, other units: memory in MiB, cores as one of several words."""

    def handler(options):
        return {"worker_cores": int(options.cores), "worker_memory": options.ram * 2**20}

    return Options(
        Select("cores", ["1", "2", "4"], default="1", label="Cores"),
        Integer("ram", default=512, min=256, max=8192, label="RAM (MiB)"),
        handler=handler,
    )


def choices():
    """Shapes of workers to choose from, each a word."""

    def handler(options):
        return {"worker_cores": int(options.cores), "worker_memory": options.memory}

    return Options(
        Select("cores", ["1", "2", "4"], default="1", label="Cores"),
        Select("memory", [("2 GB", 2 * GIB), ("4 GB", 4 * GIB)], default="2 GB", label="Memory"),
        handler=handler,
    )


def bare():
    """None at all."""
    return Options()


c.Backend.cluster_options = {"site": site, "units": units, "choices": choices, "bare": bare}[
    os.environ["GATEWAY_LAB_OPTIONS"]
]()
