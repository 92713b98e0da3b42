"""The tree of errors. Every message says what was wrong, where it came from and what to do next.

::

    ClusterhubError
    ├── ConfigError (also a ValueError)      a profile, a file or a call says something that cannot be meant
    ├── BackendUnavailable                   a backend is not installed, cannot load, or cannot work on this machine
    ├── Unsupported                          a feature was asked for that the backend cannot honour
    ├── SubmitRejected                       the system refused a unit, and would again
    ├── QueueFull                            the system takes no more units at present; it is asked again
    ├── WorkersFailed                        the workers cannot start, and why
    ├── LeftBehind                           a cluster has ended, and some of its units could not be told so
    ├── WaitTimeout (also a TimeoutError)    what was waited for did not come in time, and what state it was in
    └── ClusterGone                          the cluster's scheduler has ended or answers nobody
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


class ClusterhubError(Exception):
    """The root of everything that clusterhub raises on purpose."""

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process boundaries (a keeper, `multiprocessing`), and their constructors take keywords.
        return (rebuilt, (type(self), self.args, self.__dict__.copy()))


def rebuilt(cls: type[ClusterhubError], args: tuple[object, ...], state: Mapping[str, object]) -> ClusterhubError:
    """An error of that type with these parts, whatever its constructor takes."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a config: where it stands, which key, what was written there, and what to do about it."""

    origin: str
    """``~/.clusterhub.yaml:9``, ``call``, ``package my-site``: where the value came from."""
    path: str
    """The dotted key, as ``worker.memory``; empty where a whole file is meant."""
    message: str
    """What is wrong and what to write instead."""
    written: str | None = None
    """The value as it was written, already redacted; None where the key itself is the problem."""

    def __str__(self) -> str:
        subject = self.path if self.written is None else f"{self.path} = {self.written}"
        return ": ".join(part for part in (self.origin, subject, self.message) if part)


class ConfigError(ClusterhubError, ValueError):
    """A config or a call that cannot be meant; carries every problem found, not just the first."""

    problems: tuple[Problem, ...]
    support: str | None

    def __init__(self, problems: Problem | Iterable[Problem], *, subject: str = "", support: str | None = None) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        self.subject = subject
        self.support = support
        super().__init__(_render_problems(self.problems, subject, support))

    @classmethod
    def of(cls, message: str, *, origin: str = "", path: str = "") -> ConfigError:
        """The error for a single problem."""
        return cls(Problem(origin=origin, path=path, message=message))


def _render_problems(problems: Sequence[Problem], subject: str, support: str | None) -> str:
    tail = f"\n  help  {support}" if support else ""
    if len(problems) == 1 and not subject:
        return f"{problems[0]}{tail}"
    count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
    subjects = [p.path if p.written is None else f"{p.path} = {p.written}" for p in problems]
    # Aligned like a table, but one very long value must not push all messages off the screen.
    origin_width = min(max((len(p.origin) for p in problems), default=0), 40)
    subject_width = min(max((len(s) for s in subjects), default=0), 40)
    lines = [
        f"  {p.origin:<{origin_width}}  {s:<{subject_width}}  {p.message}".rstrip()
        for p, s in zip(problems, subjects, strict=True)
    ]
    return "\n".join([f"{subject or 'the configuration'} has {count}", *lines]) + tail


class BackendUnavailable(ClusterhubError):
    """A backend that is unknown, not installed, broken or unusable here; the message holds the remedy."""


class Unsupported(ClusterhubError):
    """What was asked of a backend that it cannot honour: every such feature with its reason."""

    refusals: Mapping[str, str]

    def __init__(
        self,
        backend: str,
        refusals: Mapping[str, str],
        *,
        origins: Mapping[str, str] | None = None,
        support: str | None = None,
    ) -> None:
        self.backend = backend
        self.refusals = dict(refusals)
        places = {key: f"{origin}: " for key, origin in (origins or {}).items()}
        lines = [f"{places.get(key, '')}{key} on backend {backend}: {why}" for key, why in self.refusals.items()]
        text = lines[0] if len(lines) == 1 else "\n  ".join([f"{len(lines)} things cannot be honoured", *lines])
        super().__init__(text + (f"\n  help  {support}" if support else ""))


class SubmitRejected(ClusterhubError):
    """The system refused a unit for good; ``source`` holds its own words."""

    def __init__(self, message: str, *, source: str = "") -> None:
        self.source = source
        super().__init__(f"{message}\n  {source}" if source else message)


class QueueFull(ClusterhubError):
    """The system takes no more units at present: a state that passes, not a mistake."""

    limit: int | None
    """How many jobs you may have, where the system says so."""
    used: int | None
    """How many of them are in use, where it is known."""

    def __init__(self, *, limit: int | None = None, used: int | None = None, source: str = "") -> None:
        self.limit, self.used, self.source = limit, used, source
        places = f"{used} of your {limit} jobs are in use" if used is not None and limit is not None else (
            f"you may have {limit} jobs" if limit is not None else "the system takes no more of your jobs now"
        )  # fmt: skip
        super().__init__(f"queue full: {places}; the rest waits for a place")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why units end badly, with the evidence: what ``WorkersFailed`` says, as fields for a program."""

    summary: str
    """One clause in our words: ``their python does not exist``."""
    unit: str = ""
    """The name of a unit that ended so; empty where none came into being."""
    exit_code: int | None = None
    source: str = ""
    """The system's own words."""
    log_path: str = ""
    log_tail: tuple[str, ...] = ()
    because: str = ""
    """The place in the config that decides this, with its value, where one is known."""
    next_step: str = ""
    count: int = 1
    """How many units in a row ended like this one."""


class WorkersFailed(ClusterhubError):
    """The workers asked for cannot start or keep dying for the same cause; nothing more is launched until told to."""

    failure: Failure

    def __init__(self, failure: Failure, *, cluster: str = "", support: str | None = None) -> None:
        self.failure = failure
        self.cluster = cluster
        self.support = support
        super().__init__(_render_failure(failure, cluster, support))


def _render_failure(failure: Failure, cluster: str, support: str | None) -> str:
    head = f"the workers of {cluster} cannot start" if cluster else "the workers cannot start"
    what = f" with exit code {failure.exit_code}" if failure.exit_code is not None else ""
    who = f": {failure.unit}" if failure.unit else ""
    ended = f"{failure.count} ended{what}{who}" if failure.count > 1 or what or who else ""
    rows = [
        ("", ended),
        ("log", failure.log_path),
        *[("", f"│ {line}") for line in failure.log_tail],
        ("system", failure.source),
        ("because", failure.because),
        ("next", failure.next_step),
        ("help", support or ""),
    ]
    lines = [f"{head}: {failure.summary}"]
    for label, text in rows:
        if text:
            first, *more = text.splitlines()
            lines += [f"  {label:<8} {first}", *(f"  {'':<8} {line}" for line in more)]
    return "\n".join(lines)


class LeftBehind(ClusterhubError):
    """The cluster has ended, and these units may still be there, since the system does not take their end."""

    units: Sequence[str]

    def __init__(self, units: Iterable[str], what: str) -> None:
        self.units = list(units)  # as it comes across the wire
        shown = ", ".join(self.units[:10]) + (f" and {len(self.units) - 10} more" if len(self.units) > 10 else "")
        super().__init__(f"{what} could not be ended: {shown}")


class WaitTimeout(ClusterhubError, TimeoutError):
    """What was waited for, for how long, and the state that it was in when patience ended."""


class ClusterGone(ClusterhubError):
    """The cluster no longer answers or has been closed; says what is known of its end."""

    final: bool
    """Whether it is known to have ended; else it does not answer now, and may again."""

    def __init__(self, message: str, *, final: bool = True) -> None:
        self.final = final
        super().__init__(message)
