"""Words of other tools, and right words in the wrong place, translated to what to write here instead of guessed at.

What belongs to a backend is asked of its options model; only the vocabularies of Dask's own packages are written down.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from clusterhub import registry
from clusterhub.errors import BackendUnavailable
from clusterhub.profile.fields import keys_of, models_in, places_of, secret_at
from clusterhub.profile.secrets import HIDDEN, is_secret_path, redact_text
from clusterhub.profile.written import LONGEST_SHOWN, one_line
from clusterhub.quantities import Bytes
from clusterhub.spec import ClusterSpec

CALLS = ("call", "--set")
"""Origins that are no file; what to write is said in the form that fits."""
_LONGEST_WORD = 60
_SURE, _LIKELY = 0.85, 0.6

_PHRASES = {
    "worker": "the shape of one worker",
    "workers": "how many workers there are",
    "node": "what one node offers",
    "job": "a matter of one job",
    "environment": "a matter of the workers' environment",
    "network": "a matter of the network",
    "storage": "a matter of storage",
    "lifecycle": "a matter of the cluster's lifecycle",
    "limits": "a limit",
}

# Another name for the same thing: dask-jobqueue's, dask-kubernetes', dask-gateway's and LocalCluster's words.
_SYNONYMS = {
    "n_workers": "workers",
    "num_workers": "workers",
    "nworkers": "workers",
    "threads_per_worker": "worker.threads",
    "nthreads": "worker.threads",
    "memory_limit": "worker.memory",
    "worker_memory": "worker.memory",
    "mem": "worker.memory",
    "worker_cores": "worker.cores",
    "ncpus": "worker.cores",
    "cpus": "worker.cores",
    "processes": "job.workers_per_job",
    "nprocs": "job.workers_per_job",
    "local_directory": "storage.scratch",
    "log_directory": "storage.logs",
    "env_extra": "environment.setup",
    "job_script_prologue": "environment.setup",
    "env": "environment.variables",
    "scheduler_interface": "network.interface",
    "security": "network.tls",
    "protocol": "network.tls",
    "time": "job.walltime",
}

_NOT_NEEDED = {
    "death_timeout": "not needed: a worker that cannot reach its scheduler gives up by itself; leave it out",
    "asynchronous": "not a matter of the cluster: await clusterhub.aio.connect(...) instead",
    "loop": "not needed: clusterhub runs its own loop; leave it out",
    "silence_logs": "has no counterpart; set the level of Python's loggers instead",
    "shutdown_on_close": "is said by keep: connect(..., keep=True) leaves the cluster running",
    "scheduler_options": "has no counterpart; what can be set of the network stands under network",
    "scheduler_port": "has no counterpart: the scheduler takes a free port",
    "host": "has no counterpart; network.interface says where the scheduler listens",
    "dashboard_address": "has no counterpart: the dashboard takes a free port, and cluster.dashboard_link tells it",
    "nanny": "has no counterpart: workers have a nanny wherever they are processes",
    "worker_command": "has no counterpart: workers are plain Dask workers, run by environment.python",
    "worker_class": "has no counterpart: workers are plain Dask workers",
    "scheduler_cls": "has no counterpart: the scheduler is Dask's own",
    "job_cls": "has no counterpart: the profile's backend says what a job is",
    "job_name": "not needed: jobs are named so that they are found again; connect(..., name=...) names the cluster",
    "job_cpu": "not needed: it follows from worker.cores and the workers of a job; leave it out",
    "job_mem": "not needed: it follows from worker.memory and the workers of a job; leave it out",
    "job_directives_skip": "has no counterpart: no directive is left out; clusterhub plan shows them",
    "header_skip": "has no counterpart: no directive is left out; clusterhub plan shows them",
    "shebang": "not needed: jobs run bash; leave it out",
    "shared_temp_directory": "not needed: the keys of a cluster are in a folder of its own; leave it out",
    "config_name": "has no counterpart; clusterhub init --from-jobqueue NAME makes a profile of a section",
    "resource_spec": "not needed: cores and memory of a job follow from its workers; leave it out",
    "worker_extra_args": "has no counterpart; worker, environment and storage say what workers are started with",
    "extra": "has no counterpart; worker, environment and storage say what workers are started with",
}

_OPTION_SYNONYMS = {
    "project": "account", "account": "project", "partition": "queue", "queue": "partition",
    "container_image": "image", "worker_image": "image", "job_extra": "directives", "job_extra_directives": "directives",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an unknown word is judged by: the backend of the profile, and what else the profile says."""

    backend: str
    options: type[BaseModel]
    given: Mapping[str, Any] = field(default_factory=dict)


def unknown_key(path: Sequence[str], value: Any, origin: str, model: type[BaseModel], around: Surroundings) -> str:
    """What to tell of a key that ``model``, the model of the table at ``path[:-1]``, does not have."""
    word = path[-1]
    if len(word) > _LONGEST_WORD:
        return "unknown key"
    siblings = _siblings(path, model, around, origin)
    say = _Voice(origin, around)
    among_options = len(path) > 1 and path[0] == around.backend
    for explain in (_renamed_option, _foreign) if among_options else (_option, _renamed_option, _foreign):
        if text := explain(word, value, say, around):
            return text
    if close := difflib.get_close_matches(word, siblings, n=1, cutoff=_SURE):
        return f"unknown key; did you mean {close[0]}?"
    if text := _elsewhere(word, value, say, around):
        return text
    if close := difflib.get_close_matches(word, siblings, n=1, cutoff=_LIKELY):
        return f"unknown key; did you mean {close[0]}?"
    return _far_fetched(word, value, say, siblings, around, nested=len(path) > 1)


def _siblings(path: Sequence[str], model: type[BaseModel], around: Surroundings, origin: str) -> list[str]:
    if len(path) > 1:
        return list(keys_of(model))
    return [*keys_of(model), around.backend, *([] if origin in CALLS else ["extends"])]


def _option(word: str, value: Any, say: _Voice, around: Surroundings) -> str | None:
    known = keys_of(around.options)
    if word in known and (known[word] is not bool or isinstance(value, bool)):
        told = f"belongs to the backend's options: {say(f'{around.backend}.{word}', value)}"
        if word == "project" and "account" in known:
            # Its old name for who pays; a batch system may know projects besides.
            told += f"; what dask-jobqueue calls project is {say(f'{around.backend}.account', value)}"
        return told
    return None


def _renamed_option(word: str, value: Any, say: _Voice, around: Surroundings) -> str | None:
    known = keys_of(around.options)
    if word == "resource_spec" and "resources" in known:
        told = "not needed: cores and memory of a job follow from its workers; what else it asks for goes into"
        return f"{told} {say(f'{around.backend}.resources', {'model': 'bro'})}"
    other = _OPTION_SYNONYMS.get(word.replace("-", "_"))
    if other is not None and other in known:
        return f"is called {other} by backend {around.backend}: {say(f'{around.backend}.{other}', value)}"
    return None


def _foreign(word: str, value: Any, say: _Voice, around: Surroundings) -> str | None:
    word = word.replace("-", "_")  # as the same words are spelled in files of Dask
    if word in _TRANSLATIONS and (text := _TRANSLATIONS[word](word, value, say, around)):
        return text
    if word in _SYNONYMS:
        path = _SYNONYMS[word]
        meant = f": {say(path, value)}" if path != "network.tls" else f": {say(path, True)}"
        return f"is called {path} here{meant}"
    return _NOT_NEEDED.get(word)


def _elsewhere(word: str, value: Any, say: _Voice, around: Surroundings) -> str | None:
    if "." in word:
        head = word.partition(".")[0]
        if head in ClusterSpec.model_fields or head == around.backend:
            return f"write it as a table: {say(word, value)}"
    places = places_of(word)
    if not places:
        return None
    table = places[0].partition(".")[0]
    return f"{word} is {_PHRASES.get(table, 'a key of the profile itself')}: {say(places[0], value)}"


def _far_fetched(word: str, value: Any, say: _Voice, siblings: list[str], around: Surroundings, *, nested: bool) -> str:
    inner = {key: f"{around.backend}.{key}" for key in keys_of(around.options)}
    inner |= {
        key: f"{name}.{key}"
        for name, f in ClusterSpec.model_fields.items()
        for m in models_in(f.annotation)
        for key in keys_of(m)
    }
    if not nested and (close := difflib.get_close_matches(word, inner, n=1, cutoff=0.8)):
        return f"unknown key; did you mean {say(inner[close[0]], value)}?"
    if others := [name for name in _backends_with(word) if name != around.backend]:
        return f"is an option of backend {' and '.join(others)}; this profile uses {around.backend}"
    return f"unknown key; known are {', '.join(sorted(siblings))}" if siblings else "unknown key; this table takes none"


def _backends_with(word: str) -> list[str]:
    found = []
    for name, candidate in registry.candidates().items():
        try:
            options = candidate.load().options_type
        except BackendUnavailable:
            continue
        if word in keys_of(options):
            found.append(name)
    return found


class _Voice:
    """Says how to write a value in the form of the place it came from: a call, ``--set``, or a file."""

    def __init__(self, origin: str, around: Surroundings) -> None:
        self._origin = origin
        self._around = around

    def __call__(self, path: str, value: Any) -> str:
        head, _, rest = path.partition(".")
        steps = path.split(".")
        if is_secret_path(steps) or (head == self._around.backend and secret_at(self._around.options, steps[1:])):
            value = HIDDEN
        if self._origin == "--set":
            return f"--set {path}={one_line(value, cut=True)}"
        if self._origin == "call":
            shown = _python(value)
            return f"{head}={{'{rest}': {shown}}}" if rest else f"{head}={shown}"
        shown = one_line(value, cut=True)
        return f"{head}: {{{rest}: {shown}}}" if rest else f"{head}: {shown}"


def _python(value: Any) -> str:
    if isinstance(value, Bytes):
        value = str(value)
    if isinstance(value, str):
        value = redact_text(value[:400])
    elif not isinstance(value, bool | int | float | None):
        shown = one_line(value, cut=True)
        # As Python would read it, unless something in it was hidden or cut.
        plain = isinstance(value, list | dict) and one_line(value) == shown and HIDDEN not in shown
        return repr(value) if plain else shown
    text = repr(value) if not isinstance(value, int) or value.bit_length() < 1000 else "..."
    return text if len(text) <= LONGEST_SHOWN else "..."


def _per_job(around: Surroundings) -> int | None:
    """How many workers the same call or profile puts into one job, in dask-jobqueue's word or in ours."""
    job = around.given.get("job")
    ours = job.get("workers_per_job") if isinstance(job, Mapping) else None
    for count in (around.given.get("processes"), ours):
        if isinstance(count, int) and not isinstance(count, bool) and 0 < count < 10**6:
            return count
    return None


def _memory_per_job(word: str, value: Any, say: _Voice, around: Surroundings) -> str | None:
    told = "dask-jobqueue's memory is per job; here it is per worker"
    count = _per_job(around)
    if count is None or "processes" not in around.given:
        return _one_in_a_job(told, say("worker.memory", value), around)
    try:
        whole = Bytes.parse(value)
    except ValueError:
        return f"{told}: divide it by processes, and write {say('worker.memory', '16 GiB')}"
    share, exact = whole.share(count)
    return f"{told}: {say('worker.memory', share)} ({whole} / {count}{'' if exact else ', rounded down'})"


def _one_in_a_job(told: str, advice: str, around: Surroundings) -> str | None:
    """Both words together are dask-jobqueue's; one alone is as likely meant as it is here."""
    if {"cores", "memory"} <= around.given.keys():
        return f"{told}: {advice} makes it one worker in each job"
    return None


def _cores_per_job(word: str, value: Any, say: _Voice, around: Surroundings) -> str | None:
    told = "dask-jobqueue's cores are per job; here they are per worker"
    count = _per_job(around)
    if count is None or "processes" not in around.given:
        return _one_in_a_job(told, say("worker.cores", value), around)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 10**6:
        return f"{told}: divide them by processes, and write {say('worker.cores', 4)}"
    if value % count == 0:
        return f"{told}: {say('worker.cores', value // count)} ({value} / {count})"
    share = value // count or round(value / count, 3)
    return f"{told}: {say('worker.cores', share)} ({value} / {count}, rounded down)"


def _processes(word: str, value: Any, say: _Voice, around: Surroundings) -> str | None:
    if isinstance(value, bool):
        return f"backend {around.backend} cannot choose between processes and threads; leave it out"
    return None


def _jobs(word: str, value: Any, say: _Voice, around: Surroundings) -> str | None:
    path = {"minimum_jobs": "workers.minimum", "maximum_jobs": "workers.maximum"}.get(word, "workers")
    count = _per_job(around)
    if count is None or not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 10**6:
        return f"workers are counted here, not jobs: write {path}, as many as the jobs hold together"
    return f"workers are counted here, not jobs: {say(path, value * count)} ({value} jobs of {count} workers)"


_TRANSLATIONS: dict[str, Callable[[str, Any, _Voice, Surroundings], str | None]] = {
    "memory": _memory_per_job,
    "cores": _cores_per_job,
    "processes": _processes,
    "jobs": _jobs,
    "n_jobs": _jobs,
    "minimum_jobs": _jobs,
    "maximum_jobs": _jobs,
}

_ARGUMENTS = {
    "jobs": "clusterhub counts workers, not jobs: scale(n), with n = {value} × the workers of one job",
    "minimum_jobs": "clusterhub counts workers, not jobs: adapt(minimum=n), with n = {value} × the workers of one job",
    "maximum_jobs": "clusterhub counts workers, not jobs: adapt(maximum=n), with n = {value} × the workers of one job",
    "cores": "clusterhub counts workers, not cores: scale(n), with n = {value} / worker.cores",
    "memory": "clusterhub counts workers, not memory: scale(n), with n = {value} / worker.memory",
    "n_workers": "write the number alone: scale({value})",
    "workers": "write the number alone: scale({value})",
    "minimum": "belongs to adapt: adapt(minimum={value})",
    "maximum": "belongs to adapt: adapt(maximum={value})",
    "n": "belongs to scale: scale({value})",
}
_TUNING = frozenset({"interval", "target_duration", "wait_count", "scale_factor", "worker_key", "Adaptive"})


def foreign_argument(word: str, value: Any) -> str:
    """What to write instead of an argument that other clusters' ``scale`` and ``adapt`` take and ours do not."""
    if word in _ARGUMENTS:
        return _ARGUMENTS[word].format(value=_python(value))
    if word in _TUNING:
        return "tunes Dask's own adaptation, which clusterhub does not use; leave it out"
    return "unknown argument; scale takes n, adapt takes minimum and maximum, both in workers"
