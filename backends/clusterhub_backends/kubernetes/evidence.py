"""What a container that ended has written, as part of why there are no workers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace

from clusterhub import ClusterhubError, Failure
from clusterhub.profile.secrets import redact_text
from clusterhub_backends.kubernetes.api import Api
from clusterhub_backends.kubernetes.objects import Object, component_of, containers_of, name_of

TAIL = 6
"""Lines of a log that a failure shows."""
AGAIN, PAUSE = 4, 0.5
"""How often a log is asked for again, and seconds between."""
READ = 60
"""Lines that are read to find its cause."""
_LOG = (
    (re.compile(r"(No module named '?(?:dask|distributed)\b[^\n]*)"), "kubernetes.image", "take an image with Dask in it"),
    (re.compile(r"ModuleNotFoundError: (No module named [^\n]*)"), "kubernetes.image", "take an image that has it"),
    (re.compile(r"((?:exec: )?[\w./-]+: (?:command )?not found)"), "kubernetes.image", "take an image that has it"),
    (re.compile(r"(Timed out (?:starting worker|trying to connect)[^\n]*)"), "", "is a NetworkPolicy in its way?"),
    (re.compile(r"(ssl\.SSL\w*Error: [^\n]*)"), "network.tls", "see that all nodes agree on the time"),
    (re.compile(r"(?:OSError|IOError).*(No space left on device)"), "storage.scratch", "name a scratch folder with room"),
    (re.compile(r"(MemoryError|Cannot allocate memory)"), "worker.memory", "give each worker more memory"),
)  # fmt: skip
"""What a log tells of the cause, the key that decides it, and what to do; the last such line counts."""


async def with_log(api: Api, failure: Failure, pods: Sequence[Object]) -> Failure:
    """The failure with the last lines of the log of the pod that it names, and what they say of the cause.

    As it was where it names none, or the log cannot be had: it never fails for want of evidence.
    """
    pod = next((each for each in pods if name_of(each) == failure.unit), None)
    if pod is None:
        return failure
    container, previous = _which(pod)
    try:
        text = await api.logs(failure.unit, container=container, previous=previous, lines=READ)
        for _again in range(AGAIN if text is None and previous else 0):  # it is just being replaced by a later one
            await asyncio.sleep(PAUSE)
            text = text or await api.logs(failure.unit, container=container, previous=True, lines=READ)
        if text is None and previous:
            previous = False
            text = await api.logs(failure.unit, container=container, lines=READ)
    except ClusterhubError:
        return failure
    if text is None:
        return failure
    command = f"{api.kubectl} logs -n {api.namespace} {failure.unit} -c {container}{' --previous' if previous else ''}"
    return told(replace(failure, log_path=command), text)


def told(failure: Failure, text: str) -> Failure:
    """The failure with the end of this log; where only that tells the cause, with the cause as well."""
    lines = [redact_text(line.rstrip()) for line in text.splitlines() if line.strip()]
    failure = replace(failure, log_tail=tuple(lines[-TAIL:]))
    if failure.because:
        return failure
    for pattern, because, next_step in _LOG:
        for line in reversed(lines):
            if match := pattern.search(line):
                summary = f"{failure.summary}: {match[1].strip()}"
                return replace(failure, summary=summary, because=because, next_step=next_step)
    return failure


def _which(pod: Object) -> tuple[str, bool]:
    """The container that does not run, or Dask's own, and whether its log is that of before its restart."""
    for container in containers_of(pod):
        state, last = container.get("state") or {}, (container.get("lastState") or {}).get("terminated")
        if not state.get("running") and (last is not None or (state.get("terminated") or {}).get("exitCode")):
            return str(container["name"]), "terminated" not in state
    return component_of(pod), False
