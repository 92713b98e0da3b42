"""How a command that did not end well is told, and with which exit code."""

from __future__ import annotations

import os
import sys

import click

from clusterhub.errors import BackendUnavailable, ClusterhubError, ConfigError, Unsupported

from .output import ReaderGone, tell_line

FAILURE, MISTAKE, INTERRUPTED, READER_GONE = 1, 2, 130, 141

MISTAKES = (ConfigError, BackendUnavailable, Unsupported)
"""What the user can put right before anything is sent; every other ``ClusterhubError`` is a failure."""


class Mistake(click.ClickException):
    """A user's error that is the command line's own; the message says what to do instead."""

    exit_code = MISTAKE


def debug_by_environment() -> bool:
    """Whether ``CLUSTERHUB_DEBUG`` asks for tracebacks."""
    return os.environ.get("CLUSTERHUB_DEBUG", "") not in ("", "0")


def tell(error: BaseException, *, debug: bool) -> int:
    """Tell ``error`` on stderr, as a message and never as a traceback unless ``debug``, and return the exit code."""
    if isinstance(error, ReaderGone):
        return _without_a_reader()
    if isinstance(error, BrokenPipeError):  # from the last flush
        return _without_a_reader()
    if isinstance(error, KeyboardInterrupt | click.Abort):
        tell_line("✘ interrupted")
        return INTERRUPTED
    if debug and not isinstance(error, click.ClickException):
        _traceback(error)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        tell_line(error.format_message())
        return MISTAKE
    if isinstance(error, click.ClickException):
        tell_line(f"✘ {_first_small(error.format_message())}{_pointer(error)}")
        return error.exit_code
    if isinstance(error, ClusterhubError):
        tell_line(f"✘ {error}")
        return MISTAKE if isinstance(error, MISTAKES) else FAILURE
    tell_line(_bug(error, debug))
    return FAILURE


def _pointer(error: click.ClickException) -> str:
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"\n  next  {error.ctx.command_path} -h"
    return ""


def _first_small(message: str) -> str:
    """Click's messages begin with a capital and end with a full stop; ours do neither."""
    small = message[:1].lower() + message[1:] if message[1:2].islower() else message
    return small.removesuffix(".") if "\n" not in small else small


def _without_a_reader() -> int:
    """Whoever read our output (``head``) has enough: end quietly, as a program that SIGPIPE ended."""
    # Python flushes stdout at exit, and would complain then: give it a place to flush to.
    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
    except (OSError, ValueError):
        pass  # a stream without a descriptor has nobody to complain to
    return READER_GONE


def _bug(error: BaseException, debug: bool) -> str:
    text = " ".join(str(error).split())
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    lines = [f"✘ this is a bug in clusterhub or in a plugin of it: {what}"]
    if not debug:
        lines.append("  next  see where it happens: the same command with CLUSTERHUB_DEBUG=1 or --debug")
    lines.append(f"  help  report it, with that, at {_tracker()}")
    return "\n".join(lines)


def _tracker() -> str:
    """Where this distribution says that bugs are reported, from its metadata, so that a fork names its own place."""
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        urls = metadata("clusterhub").get_all("Project-URL") or []
    except PackageNotFoundError:
        urls = []
    places = dict(url.split(", ", 1) for url in urls if ", " in url)
    for label in ("Issues", "Repository", "Source", "Homepage"):
        if label in places:
            return str(places[label])
    return "the place where you got clusterhub from"


def _traceback(error: BaseException) -> None:
    import traceback

    tell_line("".join(traceback.format_exception(error)).rstrip())
