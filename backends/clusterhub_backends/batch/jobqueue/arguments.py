"""What dask-jobqueue hands on word for word: arguments of ``dask worker``, and options of the ``Scheduler``."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace

from clusterhub import Bytes, Duration
from clusterhub.profile.dask_config import DaskValue
from clusterhub_backends.batch.jobqueue.draft import Draft
from clusterhub_backends.batch.jobqueue.reading import Section

_LIFETIME = "jobs are replaced before their walltime ends, and their results move"
_DASHBOARD = "workers serve no dashboards of their own; the scheduler's can only be opened by you"
_NEEDLESS = {
    "--lifetime": _LIFETIME,
    "--lifetime-stagger": _LIFETIME,
    "--lifetime-restart": _LIFETIME,
    "--no-lifetime-restart": _LIFETIME,
    "--death-timeout": "a worker that cannot reach its scheduler gives up by itself",
    "--dashboard": _DASHBOARD,
    "--no-dashboard": _DASHBOARD,
    "--dashboard-address": _DASHBOARD,
    "--dashboard-prefix": _DASHBOARD,
    "--nanny": "every worker has a nanny",
    "--name": "workers are named by their jobs",
    "--interface": "a worker takes the address that faces the scheduler",
}
_LOST = {
    "--no-nanny": "every worker has a nanny here",
    "--nworkers": "say it as processes, which share the job's cores and memory",
    "--nprocs": "say it as processes, which share the job's cores and memory",
    "--memory-limit": "each worker is held to its share of the job's memory here",
}
_SWITCHES = frozenset(
    {"--dashboard", "--no-dashboard", "--nanny", "--no-nanny", "--lifetime-restart", "--no-lifetime-restart"}
)


def take_worker_arguments(section: Section, draft: Draft) -> None:
    """Take ``worker-extra-args``: what has a word here gets it, the rest is told."""
    entry = section.take("worker-extra-args")
    if entry is None:
        return
    line = " ".join(draft.lines(entry))
    try:
        words = shlex.split(line)
    except ValueError as error:
        draft.wrong(entry, f"cannot be read as words of a shell: {error}")
        return
    preloads: list[str] = []
    for option, value in _options(words):
        if option == "--preload" and value:
            preloads.append(value)
        elif not _said_here(option, value, entry, draft):
            argument = replace(entry, value=f"{option} {value}".strip())
            if option in _NEEDLESS:
                draft.need_not(argument, _NEEDLESS[option])
            else:
                draft.lose(argument, _LOST.get(option, "workers are started without such an argument here"))
    if preloads:
        draft.put(f"{_VARIABLES}.DASK_DISTRIBUTED__WORKER__PRELOAD", json.dumps(preloads), entry, "--preload")


_VARIABLES = "environment.variables"


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Each option with its value, empty where it has none; a word that belongs to no option comes alone."""
    rest = list(words)
    while rest:
        option, sign, value = rest.pop(0).partition("=")
        if option.startswith("--") and not sign and option not in _SWITCHES and rest and not rest[0].startswith("--"):
            value = rest.pop(0)
        yield option, value


def _said_here(option: str, value: str, entry: DaskValue, draft: Draft) -> bool:
    """Put the argument where we have a word for it; whether we have one."""
    from dask.utils import parse_bytes

    if option == "--local-directory" and value:
        draft.put("storage.scratch", value, entry)
    elif option == "--nthreads" and value.isdigit() and 0 < int(value) < 10**6:
        draft.put("worker.threads", int(value), entry)
    elif option == "--resources" and (found := _resources(value)):
        draft.put(f"{_VARIABLES}.DASK_DISTRIBUTED__WORKER__RESOURCES", json.dumps(found), entry, f"--resources {value}")
    elif option == "--memory-limit" and re.fullmatch(r"[0-9.]+\s*[A-Za-z]+", value):
        try:
            limit = int(parse_bytes(value))
        except ValueError:
            return False
        share = draft.get("worker.memory")
        if limit < 2**20 or (share is not None and limit > Bytes(share)):
            return False  # more than its share: the job would be killed
        draft.put("worker.memory", str(Bytes(limit)), entry, f"--memory-limit {value}")
    else:
        return False
    return True


def _resources(text: str) -> dict[str, float] | None:
    """``GPU=1 MEM=10e9``, with blanks or commas between; None where it is something else."""
    pairs = [pair.partition("=") for pair in re.split(r"[\s,]+", text.strip()) if pair]
    try:
        amounts = {name: float(amount) for name, _, amount in pairs if name}
    except ValueError:
        return None
    return {name: int(amount) if amount.is_integer() else amount for name, amount in amounts.items()} or None


_SCHEDULER_NEEDLESS = {
    "dashboard": _DASHBOARD,
    "dashboard-address": "the dashboard has a free port, and can only be opened by you; cluster.dashboard_link tells where",
    "http-prefix": "the dashboard has a path that only you know",
    "security": "traffic is encrypted, see network.tls",
}
_SCHEDULER_LOST = {
    "port": "the scheduler takes a free port here; where a firewall lets only some through, ask who runs it for a range",
    "host": "the scheduler listens where its workers reach it, see network.interface",
}


def take_scheduler_options(section: Section, draft: Draft) -> None:
    """Take ``scheduler-options``, in the same way."""
    entry = section.take("scheduler-options")
    if entry is None:
        return
    if not isinstance(entry.value, Mapping):
        draft.wrong(entry, "must be a table of keys and values")
        return
    for key, option in section.below(entry):
        if key in _SCHEDULER_NEEDLESS or (key == "port" and option.value == 0):
            draft.need_not(option, _SCHEDULER_NEEDLESS.get(key, "the scheduler takes a free port"))
        elif key == "interface":
            if (text := draft.text(option)) is not None:
                draft.put("network.interface", text, option)
        elif key == "protocol" and str(option.value).removesuffix("://") in ("tls", "tcp"):
            _put_protocol(option, draft)
        elif key == "idle-timeout":
            _put_idle_timeout(option, draft)
        else:
            reason = _SCHEDULER_LOST.get(key, "the scheduler takes no options of its own here")
            draft.lose(option, reason)


def _put_protocol(option: DaskValue, draft: Draft) -> None:
    if str(option.value).startswith("tls"):
        draft.put("network.tls", True, option)
    else:
        draft.need_not(option, "traffic is encrypted where it leaves the machine, see network.tls")


def _put_idle_timeout(option: DaskValue, draft: Draft) -> None:
    from dask.utils import parse_timedelta

    try:
        if isinstance(option.value, bool):
            raise ValueError("a truth value")
        span = Duration.parse(f"{float(parse_timedelta(option.value)):f}s")
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError):
        draft.wrong(option, "is no span of time that Dask reads; write it as 1 hour")
        return
    draft.put("lifecycle.idle_timeout", str(span), option)
