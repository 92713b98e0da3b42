"""Clusters on a dask-gateway: ours and dask_gateway's own `GatewayCluster` in turn on one real server, in one process."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import clusterhub

from .config import only_config
from .measuring import Figure, Unavailable, interleaved, took

ROOT = Path(__file__).parents[1]
SHAPE: dict[str, Any] = {"cores": 1, "memory": "512 MiB"}
NATIVE_SHAPE = {"worker_cores": 1, "worker_memory": 0.5}
PATIENCE = 120.0
"""Seconds that a worker may take to come."""

COMING = """From nothing to the first worker, in the eyes of a Dask client: `connect("gateway", workers=1)` against making a
`GatewayCluster` and `scale(1)`, each with `get_client()` and its `wait_for_workers(1)`; on one real server on loopback, in a
process that has imported everything. Ours asks for the gateway's options first, so that nothing is created which it would
refuse, and puts its caretaker into the scheduler while the worker starts. The last line is `close()`."""

CALLING = """Calls on a cluster that stands, with one worker: each against the same call on a `GatewayCluster` on a cluster of
its own. `scale` goes to and fro between 1 and 2. `attach` is told and has no
target: it finds a cluster by the name that people call it, for which every scheduler of theirs is asked, where
`Gateway.connect` takes the gateway's own hexadecimal one."""


def coming(pairs: int) -> list[Figure]:
    """From nothing to the first worker, and to nothing again."""
    with _served() as native:
        ours, theirs = interleaved([_life_of_ours, lambda: _life_of_theirs(native)], pairs)
    return [
        Figure("gateway: first worker", tuple(up for up, _ in ours), tuple(up for up, _ in theirs), target=1.05),
        Figure("gateway: close", tuple(down for _, down in ours), tuple(down for _, down in theirs), target=1.05),
    ]


def _life_of_ours() -> tuple[float, float]:
    cluster: Any = None

    def up() -> None:
        nonlocal cluster
        cluster = clusterhub.connect("gateway", workers=1, worker=SHAPE)
        _first_worker(cluster)

    return took(up), took(lambda: cluster.close())


def _life_of_theirs(native: Any) -> tuple[float, float]:
    cluster: Any = None

    def up() -> None:
        nonlocal cluster
        cluster = _kept(native.new_cluster(**NATIVE_SHAPE))
        cluster.scale(1)
        _first_worker(cluster)

    return took(up), took(lambda: cluster.close())


def _first_worker(cluster: Any) -> None:
    with cluster.get_client(set_as_default=False) as client:
        client.wait_for_workers(1, timeout=PATIENCE)


def calling(pairs: int) -> list[Figure]:
    """Each call of the facade that a `GatewayCluster` has as well."""
    with _served() as native, clusterhub.connect("gateway", name="standing", workers=1, worker=SHAPE) as ours:
        theirs = native.new_cluster(**NATIVE_SHAPE)
        theirs.scale(1)
        for cluster in (ours, theirs):
            _first_worker(cluster)
        figures = []
        for name, call in _CALLS.items():
            both = [lambda call=call: call(ours), lambda call=call: call(theirs)]
            figures.append(Figure(f"gateway-call: {name}", *interleaved(both, pairs), target=1.05))
        attaches = [
            lambda: _attached(lambda: clusterhub.attach("standing")),
            lambda: _attached(lambda: native.connect(theirs.name)),
        ]
        figures.append(Figure("gateway-call: attach", *interleaved(attaches, max(3, pairs // 5))))
        theirs.close()
    return figures


def _scale(cluster: Any) -> float:
    seconds = took(lambda: cluster.scale(2))
    return (seconds + took(lambda: cluster.scale(1))) / 2


def _adapt(cluster: Any) -> float:
    seconds = took(lambda: cluster.adapt(minimum=1, maximum=2))
    cluster.scale(1)
    return seconds


def _client(cluster: Any) -> float:
    client: Any = None

    def get() -> None:
        nonlocal client
        client = cluster.get_client(set_as_default=False)

    seconds = took(get)
    client.close()
    return seconds


_CALLS: dict[str, Callable[[Any], float]] = {"scale": _scale, "adapt": _adapt, "client": _client}


def _attached(attach: Callable[[], Any]) -> float:
    cluster: Any = None

    def get() -> None:
        nonlocal cluster
        cluster = _kept(attach())

    seconds = took(get)
    cluster.close()
    return seconds


_ALIVE: list[Any] = []


def _kept(cluster: Any) -> Any:
    """Never collected: what dask_gateway's blocking objects do when they are waits for ever on the thread of their own loop."""
    _ALIVE.append(cluster)
    return cluster


@contextmanager
def _served() -> Iterator[Any]:
    """A server of the tests' lab, and dask_gateway's client for it. Raises Unavailable where there can be none."""
    sys.path.insert(0, str(ROOT / "tests"))
    try:
        from labs.gateway import missing
        from labs.gateway.lab import Gateway
    finally:
        sys.path.remove(str(ROOT / "tests"))
    if reason := missing():
        raise Unavailable(reason)
    from dask_gateway import BasicAuth
    from dask_gateway import Gateway as Native

    with tempfile.TemporaryDirectory(prefix="clusterhub-bench-") as folder:
        lab = Gateway(Path(folder), max_workers=4)
        lab.start()
        try:
            table = lab.table()
            auth = ", ".join(f"{key}: {value}" for key, value in table["auth"].items())
            config = f"profiles: {{gateway: {{backend: gateway, gateway: {{address: '{lab.address}', auth: {{{auth}}}}}}}}}\n"
            with only_config(config), Native(lab.address, auth=BasicAuth("ann", lab.password)) as native:
                os.environ |= lab.environment()
                yield native
        finally:
            lab.stop()
