"""What starts a keeper. Not for people.

``python -m clusterhub.keeper NAME`` is what :mod:`clusterhub.keeper.launch` runs: its standard input is the pipe that the order
comes through and that breaks when the creator ends, its standard output the one that the answer goes to, its standard error
keeper.log. ``python -m clusterhub.keeper --job NAME UID`` is the last line of a job's script: order and answer are files in the
folder of the cluster.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
import time

NO_ORDER = 85
"""The exit code of a job that does not see the folder of its cluster: the one that scripts of jobs have for missing files."""
FOLDER_PATIENCE = 10.0
"""Seconds that the folder may take to be seen on this node: NFS remembers for a while what was not there."""


def main() -> int:
    """Carry out an order."""
    if sys.argv[1:2] == ["--job"]:
        return _as_job(*sys.argv[2:])
    return _as_process()


def _as_process() -> int:
    """Become a process that nothing of the caller's reaches any more, then carry out the order."""
    # Before anything is imported: so the fork is quick, and no thread is lost in it. Our parent ends at once, so that
    # nobody has to wait for us, and whoever ends the children of the caller does not find us.
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    pipe, answer = os.dup(0), os.dup(1)
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, 0)
    os.close(devnull)
    os.dup2(2, 1)
    import asyncio
    import gc

    gc.disable()  # collecting amid the imports costs a tenth of the start, and finds nothing; see Keeper.run
    from clusterhub._dask.hosting import warm_up
    from clusterhub.keeper.logs import log_to
    from clusterhub.keeper.process import keep
    from clusterhub.keeper.records import Store
    from clusterhub.keeper.report import PipedReport
    from clusterhub.keeper.wire import Order

    warm_up()  # before the order comes: whoever started us may still be making it
    text = _read_order(pipe)
    if text is None:
        return 0  # no keeper was needed after all
    order = Order.model_validate_json(text)
    log_to(Store.here().folder(str(order.plan["name"])) / "keeper.log")
    return asyncio.run(keep(order, pipe, PipedReport(os.fdopen(answer, "wb"))))


def _as_job(name: str, uid: str) -> int:
    """Carry out the order that lies in the folder of the cluster. In this very process: it is what the system signals."""
    from clusterhub.keeper.record import ORDER
    from clusterhub.keeper.records import Store
    from clusterhub.keeper.wire import Order

    store = Store.here()
    text = store.look(uid, name, ORDER)
    deadline = time.monotonic() + FOLDER_PATIENCE
    while text is None and time.monotonic() < deadline and all(ended.uid != uid for ended in store.ended(name)):
        time.sleep(0.5)
        text = store.look(uid, name, ORDER)
    if text is None and not (store.root / "clusters").is_dir():
        print(f"clusterhub: there is no {store.root / 'clusters'} on this node", file=sys.stderr)
        return NO_ORDER
    if text is None:
        print(f"clusterhub: nobody waits for {name} any more", file=sys.stderr)
        return 0
    store.drop(uid, name, ORDER)  # it holds secrets
    order = Order.model_validate_json(text)
    os.environ.update(order.environment)  # before Dask is imported, which reads its own there
    import asyncio
    import gc

    gc.disable()
    from clusterhub.keeper.logs import log_to
    from clusterhub.keeper.process import keep
    from clusterhub.keeper.report import FiledReport

    log_to(store.folder(name) / "keeper.log")
    return asyncio.run(keep(order, None, FiledReport(store, uid, name)))


def _read_order(pipe: int) -> bytes | None:
    """The order: its length in eight bytes, then its JSON. None where the pipe breaks before."""
    head = _read(pipe, 8)
    return None if head is None else _read(pipe, struct.unpack("!Q", head)[0])


def _read(pipe: int, size: int) -> bytes | None:
    text = b""
    while len(text) < size:
        part = os.read(pipe, size - len(text))
        if not part:
            return None
        text += part
    return text


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not by sys.exit: threads of the deployment that do not end must not keep a keeper alive which has said that it ended.
    os._exit(code)
