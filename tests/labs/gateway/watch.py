"""``python -m labs.gateway.watch PID FOLDER``: end the lab in a folder as soon as the process that needs it is gone.

It must be started by that process: whatever kills it, its child gets another parent.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from labs.gateway import processes


def main() -> None:
    """Wait for it, however long it takes."""
    needed_by, folder = int(sys.argv[1]), Path(sys.argv[2])
    while os.getppid() == needed_by:
        time.sleep(0.2)
    processes.sweep(folder)


if __name__ == "__main__":
    main()
