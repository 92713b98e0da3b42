"""One side of the comparison on Kubernetes: makes a cluster with one worker, ends it, and tells the seconds of both as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

IMAGE = "ghcr.io/dask/dask:{}-py{}.{}"
PATIENCE = 120.0


def ours() -> Callable[[], Any]:
    """``connect``."""
    import distributed  # noqa: F401 - a notebook has imported it, as the other side must
    import kr8s  # noqa: F401

    import clusterhub

    return lambda: clusterhub.connect(
        "kubernetes", workers=1, worker={"cores": 1, "memory": "512 MiB"}, kubernetes={"requests": {"cores": 0.1}}
    )


def native() -> Callable[[], Any]:
    """``KubeCluster``."""
    import distributed
    from dask_kubernetes.operator import KubeCluster, make_cluster_spec

    image = IMAGE.format(distributed.__version__, *sys.version_info[:2])
    resources = {"limits": {"cpu": "1", "memory": "608Mi"}, "requests": {"cpu": "100m", "memory": "608Mi"}}
    spec = make_cluster_spec("native", worker_command="dask worker", image=image, n_workers=1, resources=resources)
    scheduler = spec["spec"]["scheduler"]["spec"]["containers"][0]
    scheduler["args"] = ["dask", "scheduler", *scheduler["args"][1:]]
    return lambda: KubeCluster(custom_cluster_spec=spec, quiet=True)


def main() -> None:
    """Measure the side that is named."""
    make = {"ours": ours, "native": native}[sys.argv[1]]()
    began = time.perf_counter()
    cluster = make()
    client = cluster.get_client()
    client.wait_for_workers(1, timeout=PATIENCE)
    up = time.perf_counter() - began
    client.close()
    began = time.perf_counter()
    cluster.close()
    print(json.dumps([up, time.perf_counter() - began]))


if __name__ == "__main__":
    main()
