"""The job script: a header of the system's own, then a body that is the same everywhere.

The body gives up early and tells why (:mod:`clusterhub_backends.batch.stages`), finds by trial an address of the scheduler that
its node reaches, and ends when its scheduler is gone or hangs. No secret is in it: keys are named by path.
"""

from __future__ import annotations

import math
import re
import shlex
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusterhub import ClusterSpec, Plan
from clusterhub.profile.secrets import is_secret_name
from clusterhub_backends.batch.driver import Driver
from clusterhub_backends.batch.stages import Stage
from clusterhub_backends.batch.walltime import LIFETIME_MARGIN

MIB = 2**20
HEADROOM = 128 * MIB
"""Bytes of a job that are no worker's: the shell, the watchdog, what the system itself counts."""
NANNY = 96 * MIB
"""Bytes of the nanny beside each worker: 60 MB measured, and room."""
REACH_PATIENCE = 45
"""Seconds in which an address of the scheduler has to answer: a job that starts after its scheduler is gone ends then."""
PROBE_PATIENCE = 5
"""Seconds for one attempt at one address; firewalls drop without a word."""
WATCH_INTERVAL = 60
WATCH_PATIENCE = 600
"""Seconds between two looks at the scheduler, and of silence after which it counts as hung. A busy one may be silent long."""
READ_PATIENCE = 30
"""Seconds in which files that were just written have to be seen on a node: NFS brings them late."""
LIFETIME_FROM = 900
"""The shortest walltime, in seconds, for which workers have a lifetime: the last net below those that nobody let go in time."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What one job asks for, and what it gives to each of its workers."""

    workers: int
    cores: int
    """Of the whole job."""
    memory: int
    """Bytes, of the whole job."""
    gpus: int
    memory_limit: int
    """Bytes of one worker, above which Dask restarts it."""


def shape_of(spec: ClusterSpec) -> Shape:
    """The job that holds ``spec.packing.workers_per_job`` workers, with room for what is around them.

    A job that fills its node cannot ask for more than that: then each worker gets a little less.
    """
    n = spec.packing.workers_per_job
    around = HEADROOM + n * NANNY
    wanted = n * spec.worker.memory
    memory, limit = wanted + around, int(spec.worker.memory)
    if spec.node is not None and memory > spec.node.memory:
        memory = int(spec.node.memory)
        limit = min(limit, (memory - around) // n)
    return Shape(n, n * math.ceil(spec.worker.cores), memory, n * spec.worker.gpus, limit)


def body(plan: Plan[Any], driver: Driver, name: str, addresses: Sequence[str], secrets: Path, logs: Path) -> str:
    """Everything of the script below its directives.

    ``name`` is that of the submission, which its workers' names begin with; ``addresses`` are the scheduler's, the likeliest
    first; ``secrets`` is the file of the variables that no script may show, see :func:`secret_variables`; ``logs`` is the
    folder that its log is in.
    """
    parts = [
        _head(plan, driver),
        _logs(logs),
        *_surroundings(plan.spec, secrets),
        _python(plan.spec),
        _keys(plan),
        _trial(addresses),
    ]
    parts.append(_run(plan, name))
    return "\n".join(part.rstrip() for part in parts if part) + "\n"


def expanding(text: str) -> str:
    """``text`` as one word of bash in which ``$VAR``, ``${VAR}`` and a leading ``~`` expand, and nothing else does."""
    home = ""
    if text == "~" or text.startswith("~/"):
        home, text = "${HOME}", text[1:]
    quoted = re.sub(r"[\\\"`]", lambda match: "\\" + match[0], text)
    # A dollar that begins no plain variable (a command, arithmetic) stands for itself.
    quoted = re.sub(r"\$(?!\{?[A-Za-z_])", r"\\$", quoted)
    quoted = re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?![A-Za-z0-9_}])", r"\\${\1", quoted)
    return f'"{home}{quoted}"'


def _head(plan: Plan[Any], driver: Driver) -> str:
    # Every start of a job needs names of its own: the scheduler may still know the workers of the one before ("name taken").
    restarts = f"${{{driver.restarts_variable}:-0}}" if driver.restarts_variable else "$(date +%s)"
    return textwrap.dedent(
        f"""
        # {plan.name}: a job of a Dask cluster, by clusterhub
        give_up() {{ # CODE WORDS...
            local code=$1
            shift
            echo "clusterhub: $*" >&2
            exit "$code"
        }}
        ended() {{ # PROCESS: its code, once it has ended or had before; a signal that is trapped breaks a `wait` off
            local code=127 last
            while kill -0 "$1" 2>/dev/null; do wait "$1"; code=$?; done
            wait "$1" 2>/dev/null; last=$?; (( last == 127 )) || code=$last
            return "$code"
        }}
        readable() {{ # FILE: whether it can be read, within a while
            local until_=$((SECONDS + {READ_PATIENCE}))
            until [[ -r $1 ]]; do ((SECONDS < until_)) && sleep 2 || return 1; done
        }}
        index=${{{driver.index_variable}:-0}}
        restart={restarts}
        echo "clusterhub: job ${{{driver.job_variable}:-?}} index $index on $HOSTNAME at $(date -u +%FT%TZ)"
        """
    )


def _logs(folder: Path) -> str:
    """PBS runs a job all the same whose log it cannot write, and what that says is then nowhere to be found."""
    return (
        f'[[ -d {(path := shlex.quote(str(folder)))} && -w {path} ]] || give_up {Stage.LOGS} "cannot write to "{path}'
    )


def secret_variables(spec: ClusterSpec) -> str:
    """Lines of shell that set the variables whose names say that they are secrets; empty where there are none.

    The batch system shows scripts to its administrators, and often to everybody.
    """
    secret = {name: value for name, value in spec.environment.variables.items() if is_secret_name(name)}
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in secret.items())


def _surroundings(spec: ClusterSpec, secrets: Path) -> Iterator[str]:
    environment = spec.environment
    if environment.directory is not None:
        where = expanding(environment.directory)
        yield f'cd -- {where} || give_up {Stage.DIRECTORY} "cannot enter "{where}'
    for name, value in environment.variables.items():
        if not is_secret_name(name):
            yield f"export {name}={shlex.quote(value)}"
    if secret_variables(spec):
        file = shlex.quote(str(secrets))
        yield f'readable {file} && source {file} || give_up {Stage.KEYS} "cannot read the secret variables in "{file}'
    if environment.setup:
        # Where sites define `module`; a job of PBS has it by its login shell, one of SLURM has not.
        yield "shopt -q login_shell || [[ ! -r /etc/profile ]] || source /etc/profile"
    for line in environment.setup:
        yield f'{line}\n(( $? == 0 )) || give_up {Stage.SETUP} "this line of the setup failed:" {shlex.quote(line)}'
    if spec.storage.scratch is not None:
        yield textwrap.dedent(
            f"""\
            scratch={expanding(spec.storage.scratch)}
            mkdir -p -- "$scratch" 2>/dev/null
            probe=$(mktemp "$scratch/clusterhub.XXXXXX") && echo probe >"$probe" && rm -f "$probe" \\
                || give_up {Stage.SCRATCH} "cannot write to $scratch"
            """
        )


def _python(spec: ClusterSpec) -> str:
    python = expanding(spec.environment.python or "python3")
    return textwrap.dedent(
        f"""\
        python={python}
        command -v "$python" >/dev/null || give_up {Stage.PYTHON} "there is no $python on $HOSTNAME"
        """
    )


def _keys(plan: Plan[Any]) -> str:
    if plan.tls is None:
        return ""
    key = shlex.quote(plan.tls.key)
    return f'readable {key} || give_up {Stage.KEYS} "cannot read "{key}'


def _trial(addresses: Sequence[str]) -> str:
    """Every address is tried at once, again and again; the first to answer is taken."""
    listed = " ".join(shlex.quote(address) for address in addresses)
    return textwrap.dedent(
        f"""\
        # The first address of the scheduler that this node reaches
        try() {{ # ADDRESS: says it where it answers, else what happened
            local place=${{1#*://}} words code
            words=$(timeout {PROBE_PATIENCE} bash -c ": <>/dev/tcp/${{place%:*}}/${{place##*:}}" 2>&1)
            code=$?
            (( code == 124 )) && words="no answer within {PROBE_PATIENCE} s"
            if (( code )); then echo "clusterhub: $1: ${{words##*: }}" >&2; else echo "$1"; fi
        }}
        reach() {{
            local address
            for address in {listed}; do try "$address" & done
            wait
        }}
        address= until_=$((SECONDS + {REACH_PATIENCE}))
        until read -r address < <(reach 2>/dev/null) || (( SECONDS >= until_ )); do sleep 2; done
        [[ -n $address ]] || {{ reach; give_up {Stage.ADDRESS} "none of these answers from $HOSTNAME:" {listed}; }}
        echo "clusterhub: the scheduler answers at $address"
        """
    )


WATCHDOG = """\
import os, signal, socket, ssl, sys, time
from urllib.parse import urlsplit
place, worker = urlsplit(sys.argv[1]), int(sys.argv[2])
def answers():
    try:
        with socket.create_connection((place.hostname, place.port), timeout=30) as plain:
            if place.scheme != "tls":
                return bool(plain.recv(1))
            context = ssl.create_default_context(cafile=sys.argv[3])
            context.check_hostname = False
            context.load_cert_chain(sys.argv[4], sys.argv[5])
            with context.wrap_socket(plain) as secret:
                return bool(secret.recv(1))
    except OSError:
        return False
heard = time.monotonic()
while time.monotonic() - heard < PATIENCE:
    time.sleep(INTERVAL)
    if answers():
        heard = time.monotonic()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.kill(worker, signal.SIGKILL)
sys.exit(WATCHDOG)
"""
"""Kills the worker, and ends with the code of that stage, when the scheduler has not greeted for a while.

A connection is no proof of life: the kernel takes those of a stopped process too; but Dask sends its greeting as soon as it
is connected to (distributed.comm.core.connect)."""
FIND = (
    "import sys; from importlib.util import find_spec; sys.exit(not (find_spec('dask') and find_spec('distributed')))"
)


def _run(plan: Plan[Any], name: str) -> str:
    watchdog = WATCHDOG
    for word, number in (("PATIENCE", WATCH_PATIENCE), ("INTERVAL", WATCH_INTERVAL), ("WATCHDOG", Stage.WATCHDOG)):
        watchdog = watchdog.replace(word, str(int(number)))
    keys = " ".join(shlex.quote(path) for path in (plan.tls.ca, plan.tls.cert, plan.tls.key)) if plan.tls else ""
    started = f"""\
export DASK_DISTRIBUTED__WORKER__HTTP__ROUTES='[]'  # workers serve nothing without a key
began=$SECONDS
{_started(plan, name)}
worker=$!
trap 'kill -TERM "$worker" 2>/dev/null' TERM INT XCPU
# Not at once: workers have enough to do when they start, and reading from nobody is a sleep that needs no process.
(
    read -rt {WATCH_INTERVAL} <> <(:)
    exec "$python" - "$address" "$worker" {keys} <<'WATCHDOG'
{watchdog}WATCHDOG
) &
watchdog=$!
"""
    ended = f"""\
ended "$worker"; code=$?
kill "$watchdog" 2>/dev/null
wait "$watchdog" 2>/dev/null
(( $? == {Stage.WATCHDOG} )) && give_up {Stage.WATCHDOG} "the scheduler was silent for {WATCH_PATIENCE} s"
(( code == 0 || SECONDS - began > {WATCH_INTERVAL} )) || "$python" -c {shlex.quote(FIND)} \\
    || give_up {Stage.MODULE} "$python has no dask and distributed"
exit "$code"
"""
    return started + ended


def _started(plan: Plan[Any], name: str) -> str:
    """The workers, as one process in the background; where each has GPUs of its own, as one that starts them apart."""
    shape, called = shape_of(plan.spec), f"{name}-$index-r$restart"
    if not shape.gpus or shape.workers == 1:
        return f"{' '.join(_worker(plan, called, shape.workers))} &"
    each = plan.spec.worker.gpus
    command = " ".join(_worker(plan, f"{called}-$i", 1))
    return textwrap.dedent(
        f"""\
        workers() {{ # each sees GPUs of its own; where the system does not say which are the job's, the node is taken to be
            local i pid gpus pids=() code=0
            IFS=, read -ra gpus <<<"${{CUDA_VISIBLE_DEVICES:-$(seq -s, 0 {shape.gpus - 1})}}"
            trap 'kill -TERM "${{pids[@]}}" 2>/dev/null' TERM
            for ((i = 0; i < {shape.workers}; i++)); do
                CUDA_VISIBLE_DEVICES=$(IFS=,; echo "${{gpus[*]:i * {each}:{each}}}") \\
                    {command} &
                pids+=($!)
            done
            for pid in "${{pids[@]}}"; do ended "$pid" || code=$?; done
            exit "$code"
        }}
        workers &"""
    )


def _worker(plan: Plan[Any], name: str, count: int) -> Iterator[str]:
    """The words of the command that starts ``count`` workers; what the script finds out is in its variables."""
    spec, shape = plan.spec, shape_of(plan.spec)
    yield '"$python" -m distributed.cli.dask_worker "$address"'
    yield f'--name "{name}" --nworkers {count} --nthreads {spec.worker.nthreads}'
    yield f"--memory-limit {shape.memory_limit} --nanny --death-timeout 60"
    yield "--no-dashboard --dashboard-address 127.0.0.1:0"
    if spec.storage.scratch is not None:
        yield '--local-directory "$scratch"'
    if spec.job.walltime is not None and spec.job.walltime >= LIFETIME_FROM:
        # From the job's start, of which the script has spent some.
        yield f"--lifetime $(({int(spec.job.walltime - LIFETIME_MARGIN)} - SECONDS))"
    if plan.tls is not None:
        names = {"--tls-ca-file": plan.tls.ca, "--tls-cert": plan.tls.cert, "--tls-key": plan.tls.key}
        yield " ".join(f"{option} {shlex.quote(path)}" for option, path in names.items())
