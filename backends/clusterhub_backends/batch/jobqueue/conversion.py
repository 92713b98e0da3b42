"""From a section of dask-jobqueue's config to a profile: what is per job there is per worker here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ValidationError

from clusterhub import ClusterSpec, ConfigError, Problem
from clusterhub.backend import Conversion
from clusterhub.profile.dask_config import ANYWHERE, DaskValue
from clusterhub.profile.problems import problems_of
from clusterhub.profile.tree import Node, Refused, from_python
from clusterhub.profile.words import Surroundings
from clusterhub_backends.batch.jobqueue.arguments import take_scheduler_options, take_worker_arguments
from clusterhub_backends.batch.jobqueue.dialect import Booked, Dialect, take_directives
from clusterhub_backends.batch.jobqueue.draft import Draft
from clusterhub_backends.batch.jobqueue.reading import Section
from clusterhub_backends.batch.jobqueue.shape import put_shape
from clusterhub_backends.batch.jobqueue.systems import system_of

DEFAULT_WALLTIME = "00:30:00"
"""What dask-jobqueue asks for where nobody says anything: its package brings it as a default."""
_DEFAULTS: Mapping[str, Sequence[Any]] = {
    "name": ("dask-worker",),
    "death-timeout": (60, "60"),
    "worker-command": ("distributed.cli.dask_worker",),
    "shebang": ("#!/usr/bin/env bash", "#!/bin/bash", "#!/usr/bin/bash", "#!/bin/sh"),
}
"""What asks for nothing: as dask-jobqueue has it, and as jobs start here."""
_NEEDLESS = {
    "name": "jobs are named by clusterhub, which finds them again by their names",
    "death-timeout": "a worker that cannot reach its scheduler gives up by itself",
    "shared-temp-directory": "the keys of a cluster are in a folder of its own, see CLUSTERHUB_STATE",
}
_RENAMED = {
    "job-extra-directives": "job-extra",
    "job-script-prologue": "env-extra",
    "worker-extra-args": "extra",
    "job-directives-skip": "header-skip",
}
"""dask-jobqueue's names, and the old ones, which it takes where the new one says nothing."""
LOGIN = "source /etc/profile || true"
"""dask-jobqueue's jobs inherit the environment of whoever submits them, in which ``module`` is a function; ours do not."""


class JobqueueConfig:
    """What makes a backend of a batch system read the config that its users have written for dask-jobqueue."""

    name: ClassVar[str]
    options_type: type[BaseModel]
    jobqueue: ClassVar[Dialect]

    def dask_config(self) -> Mapping[str, Any]:
        """The section of this system. Raises ConfigError also for what cannot be had here: it would be missed."""
        return self._converted(self.name, strictly=True).profile

    def dask_config_unused(self) -> Sequence[Problem]:
        """What of the section has no effect here."""
        return self._converted(self.name).unused

    def claims(self, section: str) -> bool | None:
        """Whether the section is for this system, by its name and its keys."""
        found = system_of(Section(section))
        return None if found is None else found == self.name

    def from_jobqueue(self, section: str) -> Conversion:
        """The section in our words; empty where it says nothing."""
        return self._converted(section)

    def _converted(self, name: str, *, strictly: bool = False) -> Conversion:
        section = Section(name)
        if not section:
            return Conversion(section.source, {})
        draft = _drafted(section, self.jobqueue)
        profile = draft.profile()
        problems = draft.problems or _invalid(profile, draft, self.name, self.options_type)
        if strictly:
            hint = f"clusterhub init --from-jobqueue {name} writes a profile without it"
            problems += [Problem(p.origin, p.path, f"{p.message}; {hint}", p.written) for p in draft.lost]
        if problems:
            raise ConfigError(problems, subject=section.path)
        return Conversion(section.source, profile, draft.notes, tuple(draft.lost), tuple(draft.unused))


def _drafted(section: Section, dialect: Dialect) -> Draft:
    draft, booked = Draft(), Booked()
    if section.name == dialect.backend and "walltime" not in section.keys:
        place = DaskValue(f"{section.path}.walltime", DEFAULT_WALLTIME, "dask-jobqueue's default")
        dialect.walltime(DEFAULT_WALLTIME, place, draft)
        draft.notes["job.walltime"] = "not said: dask-jobqueue's default"
    _drop_needless(section, draft)
    _put_options(section, dialect, draft)
    dialect.book(section, draft, booked)
    prologue, header = _prologue(section, dialect, draft)
    if (entry := section.take("job-extra-directives")) is not None:
        take_directives(draft.lines(entry), entry, dialect, draft, booked)
    if header and (prologued := section.peek("job-script-prologue")) is not None:
        take_directives(header, prologued, dialect, draft, booked)
    put_shape(section, draft, booked)
    _put_places(section, draft)
    _put_setup(section, dialect, draft, prologue)
    take_worker_arguments(section, draft)
    take_scheduler_options(section, draft)
    _tell_the_rest(section, dialect, draft)
    return draft


def _drop_needless(section: Section, draft: Draft) -> None:
    """What asks for nothing, and the old names of what is said by its new one as well."""
    for key, asking_nothing in _DEFAULTS.items():
        if (entry := section.peek(key)) is not None and entry.value in asking_nothing:
            section.take(key)
    for key, reason in _NEEDLESS.items():
        if (entry := section.take(key)) is not None:
            draft.need_not(entry, reason)
    for key, old in _RENAMED.items():
        if (ignored := section.rename(old, key)) is not None:
            draft.need_not(ignored, f"{key} is said as well, and counts")


def _put_options(section: Section, dialect: Dialect, draft: Draft) -> None:
    account, old = section.take("account") or dialect.account_elsewhere(), section.take("project")
    if account is not None and old is not None:
        draft.need_not(old, f"{account.path} is said as well, and counts")
    for option, entry in ((dialect.queue, section.take("queue")), ("account", account or old)):
        if entry is not None and (text := draft.text(entry)) is not None:
            dialect.option(option, text, entry, draft)
    if (entry := section.take("walltime")) is not None:
        if (reason := dialect.misread(entry)) is not None:
            draft.wrong(entry, reason)
        elif (text := draft.text(entry)) is not None:
            dialect.walltime(text, entry, draft)


_EXPANDS_OTHERWISE = re.compile(r"\$(?!\w|\{\w+\})|`")


def _put_places(section: Section, draft: Draft) -> None:
    """Paths and names that mean the same here."""
    for key, path in (
        ("interface", "network.interface"),
        ("local-directory", "storage.scratch"),
        ("log-directory", "storage.logs"),
        ("python", "environment.python"),
    ):
        entry = section.take(key)
        text = draft.text(entry) if entry is not None else None
        if entry is None or text is None:
            continue
        if key in ("python", "local-directory") and _EXPANDS_OTHERWISE.search(text):
            draft.lose(entry, "only $VAR, ${VAR} and ~ expand here; write it with those")
        elif key == "python" and len(text.split()) > 1:
            draft.lose(entry, "is a command of several words; write a script that runs it, and name that")
        else:
            draft.put(path, text, entry)


def _prologue(section: Section, dialect: Dialect, draft: Draft) -> tuple[list[str], list[str]]:
    """The lines that run before the worker, and those at their head that the batch system reads as directives."""
    entry = section.peek("job-script-prologue")
    lines = draft.lines(entry) if entry is not None else []
    header = []
    while lines and lines[0].startswith("#"):
        line = lines.pop(0)
        if line.startswith(f"{dialect.mark} "):
            header.append(line)
    return lines, header


# What a line cannot begin or end with where it stands for itself.
_COMPOUND = re.compile(
    r"^\s*(if|then|else|elif|fi|for|while|until|do|done|case|esac|select|function|\}|\))\b|(\\|\{|\(|&&|\|\|?|\bdo|\bthen|\belse|\bin)$|<<"
)


def _put_setup(section: Section, dialect: Dialect, draft: Draft, lines: list[str]) -> None:
    entry, shebang = section.take("job-script-prologue"), section.take("shebang")
    login = shebang is not None and _reads_login_files(shebang, bool(lines), draft)
    if entry is not None and lines:
        # A construct over several lines is one step; else every line is a step of its own, and the one that fails is named.
        steps = ["\n".join(lines)] if any(_COMPOUND.search(line) for line in lines) else lines
        first = [] if dialect.login else [LOGIN]
        note = "" if dialect.login else "; jobs get nothing of your environment, and /etc/profile defines module"
        draft.put("environment.setup", [*first, *steps], entry, f"a step that fails ends the job here{note}")
    elif shebang is not None and login and not dialect.login:
        draft.put("environment.setup", [LOGIN], shebang, "as a login shell does")


def _reads_login_files(shebang: DaskValue, needed: bool, draft: Draft) -> bool:
    """Whether the shell is to be a login shell; tells of shells that are none of ours."""
    words = str(shebang.value).removeprefix("#!").split()
    names = [word.rpartition("/")[2] for word in words if not word.startswith("-")]
    shell = next((name for name in names if name != "env"), "")
    if shell not in ("bash", "sh"):
        # Lines for zsh and ksh are nearly always lines for bash: module load, source, export.
        if needed and shell not in ("zsh", "ksh", "dash"):
            draft.lose(shebang, "jobs run bash here; write job-script-prologue for bash")
        else:
            draft.need_not(shebang, "jobs run bash here")
    return bool({"-l", "--login"} & set(words))


def _tell_the_rest(section: Section, dialect: Dialect, draft: Draft) -> None:
    if (entry := section.take("job-directives-skip")) is not None:
        draft.lose(entry, "clusterhub leaves out none of its own directives; see them with: clusterhub plan")
    if (entry := section.take("worker-command")) is not None:
        draft.lose(entry, "workers are started by distributed.cli.dask_worker here, and by nothing else")
    for key, entry in section.left():
        reason = "a key of another batch system" if key in dialect.foreign else "dask-jobqueue has no such key"
        draft.need_not(entry, f"{reason}, so it had no effect")


def _invalid(profile: Mapping[str, Any], draft: Draft, backend: str, options: type[BaseModel]) -> list[Problem]:
    """What the models find wrong with the profile, told of the entries that it comes from."""
    try:
        tree = from_python({**profile, "backend": backend}, ANYWHERE)
    except Refused as refused:
        return [refused.problem]
    around = Surroundings(backend, options)
    own = Node({key: node for key, node in tree.value.items() if key != backend}, tree.origin)
    table = tree.get(backend) or Node({}, tree.origin)
    found: list[Problem] = []
    for model, node, prefix in ((ClusterSpec, own, ()), (options, table, (backend,))):
        try:
            model.model_validate(node.plain())
        except ValidationError as error:
            found += problems_of(error, node, model, prefix, around)
    return [_of_entry(problem, draft) for problem in found]


def _of_entry(problem: Problem, draft: Draft) -> Problem:
    path = problem.path
    while path and path not in draft.entries:
        path = path.rpartition(".")[0]
    entry = draft.entries.get(path)
    return problem if entry is None else entry.problem(f"{problem.path}: {problem.message}")


if TYPE_CHECKING:
    from clusterhub.backend import TakesJobqueue

    def _fits(config: JobqueueConfig) -> TakesJobqueue:
        return config
