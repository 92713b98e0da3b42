"""How many jobs one may have: PBS refuses without a figure, and tells it where servers and queues are shown.

Source: the administrator's guide, "Limits on Number of Jobs"; ``max_queued`` counts jobs that wait and run alike.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator, Mapping, Sequence

from clusterhub_backends.batch.driver import Output

QUEUE = re.compile(r"^#PBS -q (?P<name>[^@\s]+)", re.MULTILINE)
ENTRY = re.compile(r'u:"?(?P<who>[^="\],\s]+)"?\s*=\s*(?P<most>\d+)')
EVERYBODY = "PBS_GENERIC"


def tightest(script: str, outputs: Sequence[Output], user: str | None = None) -> int | None:
    """The strictest limit on the jobs of ``user`` (by default ours) that counts for ``script``, among what was answered.

    ``outputs`` are those of ``qstat -B -f`` and ``qstat -Q -f``, of which the last may be missing. None where none is told.
    """
    who = user or pwd.getpwuid(os.getuid()).pw_name
    shown = dict(part for output in outputs if output.code == 0 for part in _sections(output.stdout))
    named = QUEUE.search(script)
    queue = named["name"] if named else next((about.get("default_queue", "") for about in shown.values()), "")
    limits = [_of(about, who) for (kind, name), about in shown.items() if kind == "Server" or name == queue]
    return min((limit for limit in limits if limit is not None), default=None)


def _sections(text: str) -> Iterator[tuple[tuple[str, str], Mapping[str, str]]]:
    """``Server: pbshost`` and ``Queue: workq``, each with its attributes; long lines go on behind a tab."""
    for section in re.split(r"^(?=(?:Server|Queue): )", text.replace("\n\t", ""), flags=re.MULTILINE):
        if match := re.match(r"(?P<kind>Server|Queue): (?P<name>\S+)", section):
            yield (match["kind"], match["name"]), dict(re.findall(r"^ +(\S+) = (.*)$", section, re.MULTILINE))


def _of(about: Mapping[str, str], who: str) -> int | None:
    """``[u:PBS_GENERIC=100],[u:ann=200]``: one's own limit, else everybody's."""
    told = {match["who"]: int(match["most"]) for match in ENTRY.finditer(about.get("max_queued", ""))}
    return told.get(who, told.get(EVERYBODY))
