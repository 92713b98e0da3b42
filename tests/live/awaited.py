"""``python -m live.awaited NAME COUNT``: ends once that living cluster has computed so many tasks more than when it began.

A program of its own, since in most places only their users' programs reach a scheduler.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from distributed import Client


def computed(dask_scheduler: Any) -> int:
    """How many tasks ever came to their result."""
    return sum(prefix.state_counts["memory"] for prefix in dask_scheduler.task_prefixes.values())


def main(name: str, count: int) -> None:
    with Client(f"hub://{name}", set_as_default=False) as client:
        before = client.run_on_scheduler(computed)
        print("watching", flush=True)
        while client.run_on_scheduler(computed) < before + count:
            time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
