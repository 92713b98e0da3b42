"""``python -m clusterhub.keeper NAME``: what :mod:`clusterhub.keeper.launch` starts. Not for people.

Its standard input is the pipe that the order comes through and that breaks when the creator ends, its standard output the
one that the answer goes to, its standard error keeper.log.
"""

from __future__ import annotations

import os
import signal
import struct
import sys


def main() -> int:
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
    from clusterhub.keeper.process import Report, keep
    from clusterhub.keeper.records import Store
    from clusterhub.keeper.wire import Order

    warm_up()  # before the order comes: whoever started us may still be making it
    text = _read_order(pipe)
    if text is None:
        return 0  # no keeper was needed after all
    order = Order.model_validate_json(text)
    log_to(Store.here().folder(str(order.plan["name"])) / "keeper.log")
    return asyncio.run(keep(order, pipe, Report(os.fdopen(answer, "wb"))))


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
