"""keeper.log: everything that a keeper, and whoever it started, says; bounded, and for nobody else to read."""

from __future__ import annotations

import logging
import os
import threading
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

MOST = 5 * 2**20
"""Bytes of one keeper.log; the one before is kept as keeper.log.1."""

OUTPUT = "output"
"""The logger of lines that were printed, which come with whatever head their printers gave them."""


class _Private(RotatingFileHandler):
    def _open(self) -> TextIOWrapper:
        fd = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        return TextIOWrapper(os.fdopen(fd, "ab"), encoding="utf-8", errors="replace", line_buffering=True)

    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk must not end a cluster; and what would be printed of it would come back here as another line."""


class _Format(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage() if record.name == OUTPUT else super().format(record)


def log_to(path: Path) -> None:
    """Send all logging, and what is written to the standard output and error of this process, to ``path``.

    Workers inherit those two, and tasks print: so they go through a pipe, whose lines are logged and rotated.
    """
    handler = _Private(path, maxBytes=MOST, backupCount=1)
    handler.setFormatter(_Format("%(asctime)s - %(name)s - %(levelname)s - %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    reading, writing = os.pipe()
    os.dup2(writing, 1)
    os.dup2(writing, 2)
    os.close(writing)
    threading.Thread(target=_log_lines, args=(reading,), name="clusterhub-output", daemon=True).start()


def _log_lines(pipe: int) -> None:
    logger = logging.getLogger(OUTPUT)
    with os.fdopen(pipe, "rb") as lines:
        for line in lines:
            logger.info("%s", line.decode(errors="replace").rstrip())


def stop() -> None:
    """Write no more: the file is about to be moved, and what has its name next is another cluster's."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Private)]:
        root.removeHandler(handler)
        handler.close()
