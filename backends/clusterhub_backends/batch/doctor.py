"""What ``check`` looks at for a batch system: its commands and queues, then this host, all without submitting anything."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from clusterhub import ClusterSpec, Finding
from clusterhub.display.words import counted
from clusterhub_backends.batch.commands import run
from clusterhub_backends.batch.driver import Command, Driver, JobState, Output, SystemDown
from clusterhub_backends.batch.fitting import amount, described, fits, misfits, span
from clusterhub_backends.batch.queues import Allowance, Facts, Queue, Wish
from clusterhub_backends.batch.script import shape_of

PATIENCE = 20.0
"""Seconds that one question may take: SLURM's clients wait up to 18 s for a controller that is down."""
NAMED = 8
"""Names that a list shows before it only counts."""

Ask = Callable[[Command], Output]


def _asked_now(command: Command) -> Output:
    return run(command, PATIENCE)


@dataclass(frozen=True)
class Doctor:
    """Looks at the batch system for one profile. Nothing it does lasts longer than its time limits."""

    driver: Driver
    spec: ClusterSpec
    wish: Wish
    backend: str
    """The name of the backend, which its keys begin with."""
    noun: str
    """What people call a queue there, which is also the option that names one: ``partition``."""
    ask: Ask = _asked_now

    def findings(self) -> Iterator[Finding]:
        """Everything, in the order in which it is told."""
        yield self._commands()
        try:
            used = self._used()
        except SystemDown as down:
            text = f"{self.driver.system} does not answer, so nothing can be submitted now; jobs that run go on\n{down}"
            yield Finding("fail", self.noun, text)
            return
        questions = self.driver.inquiries(self.wish)
        facts = self.driver.facts(self.wish, self._answers(questions)) if questions else Facts()
        yield from self._queues(facts, used)
        yield from self._accounts(facts)
        if facts.meant or not facts.queues:
            yield from self._job(facts)

    # Asking

    def _used(self) -> int:
        """How many jobs of this user are there. Raises SystemDown."""
        listed = self.driver.listed(self.ask(self.driver.listing(self.wish.user, ())))
        return sum(job.state is not JobState.DONE for job in listed)

    def _answers(self, questions: Sequence[Command]) -> list[Output | None]:
        """All at once, since a busy server takes seconds over each; None for what did not answer."""
        with ThreadPoolExecutor(max_workers=len(questions)) as pool:
            return list(pool.map(self._answer, questions))

    def _answer(self, question: Command) -> Output | None:
        try:
            return self.ask(question)
        except SystemDown:  # or not installed: sites leave out sinfo, sacctmgr, pbsnodes
            return None

    # Telling

    def _commands(self) -> Finding:
        commands = ", ".join(self.driver.commands)
        try:
            answer = self.ask(self.driver.version())
        except SystemDown as down:
            return Finding("warn", "commands", f"{commands}; their version is not known: {down}")
        version = re.search(r"\d+(?:\.\w+)+", answer.words) if answer.code == 0 else None
        return Finding("ok", "commands", commands + (f" ({self.driver.system} {version[0]})" if version else ""))

    def _queues(self, facts: Facts, used: int) -> Iterator[Finding]:
        key = f"{self.backend}.{self.noun}"
        if not facts.queues:
            yield Finding("warn", self.noun, f"{self.driver.system} tells nothing of its {self.noun}s; {_in_use(used)}")
            return
        found = {queue.name for queue in facts.meant}
        for name in self.wish.queues:
            if name.partition("@")[0] not in found:
                yield Finding("fail", self.noun, self._unknown(name, facts.queues), key)
        if not self.wish.queues and not facts.meant:
            yield Finding("fail", self.noun, f"there is no default one; name one of {_some(facts.queues)}", key)
        for queue in facts.meant:
            yield self._queue(queue, facts, used)

    def _unknown(self, name: str, known: Sequence[str]) -> str:
        close = difflib.get_close_matches(name, known, n=1)
        guess = f"did you mean {close[0]}? " if close else ""
        return f"there is no {self.noun} {name}; {guess}there {'is' if len(known) == 1 else 'are'} {_some(known)}"

    def _queue(self, queue: Queue, facts: Facts, used: int) -> Finding:
        title, key = f"{self.noun} {queue.name}", f"{self.backend}.{self.noun}"
        if queue.closed:
            key = f"{self.backend}.{queue.closed_by}" if queue.closed_by else key
            return Finding("fail", title, f"{queue.closed}; name another {queue.closed_by or self.noun}", key)
        parts = [queue.words] if queue.words else []
        if queue.most.walltime is not None:
            parts.append(f"walltime up to {span(queue.most.walltime)}")
        parts += [described(kind) for kind in (facts.kinds or ())[:3]]
        if facts.kinds and len(facts.kinds) > 3:
            parts[-1] += f" and {len(facts.kinds) - 3} more kinds"
        parts.append(_limits(facts.allowance, used))
        seen = "; ".join(parts)
        if not queue.takes:
            return Finding(
                "fail", title, f"takes no jobs now ({queue.words}); ask your site when it will, or name another", key
            )
        if not queue.starts:
            return Finding(
                "warn", title, f"{seen}\nit takes jobs and starts none: they wait until the site opens it", key
            )
        if facts.idle:
            return Finding("warn", title, f"{seen}\n{facts.idle}: jobs wait until the site changes that")
        if facts.kinds is not None and not any(kind.usable for kind in facts.kinds):
            which = "its nodes are all down or set aside" if facts.kinds else "no node is as it asks"
            return Finding("warn", title, f"{seen}\n{which}: jobs wait until that changes", key)
        return Finding("ok", title, seen)

    def _accounts(self, facts: Facts) -> Iterator[Finding]:
        account, key = self.wish.account, f"{self.backend}.account"
        if facts.accounts == ():
            yield Finding(
                "fail", "account", "you have none on this system, and it takes no jobs without; ask your site", key
            )
        elif facts.accounts is not None and account and account not in facts.accounts:
            yield Finding("fail", "account", f"{account} is not yours; yours are {_some(facts.accounts)}", key)
        elif facts.accounts is not None and (account or facts.default_account):
            told = account or f"{facts.default_account}, your default"
            others = [name for name in facts.accounts if name not in (account, facts.default_account)]
            more = f"; also yours: {_some(others)}" if others and not account else ""
            yield Finding("ok", "account", f"{told}{more}")
        if facts.qos is not None and self.wish.qos and self.wish.qos not in facts.qos:
            text = f"{self.wish.qos} is not yours with that account; yours are {_some(facts.qos)}"
            yield Finding("fail", "qos", text, f"{self.backend}.qos")

    def _job(self, facts: Facts) -> Iterator[Finding]:
        shape = shape_of(self.spec)
        found = misfits(self.spec, shape, facts)
        for misfit in found:
            yield Finding("fail", "job", f"{misfit.text}; ask for less, or name another {self.noun}", misfit.because)
        if found:
            return
        parts = [counted(shape.workers, "worker"), amount("cores", shape.cores), amount("memory", shape.memory)]
        if shape.gpus:
            parts.append(amount("gpus", shape.gpus))
        texts = [", ".join(parts), *self._walltime(facts)]
        if facts.kinds:
            room = sum(kind.number for kind in facts.kinds if fits(shape, kind))
            texts.append(f"fits {room} of {counted(sum(kind.number for kind in facts.kinds), 'node')}")
        text = "; ".join(texts)
        if short := self._short(facts.allowance, shape.cores):
            yield Finding("warn", "job", f"{text}\n{short}", "workers")
        else:
            yield Finding("ok", "job", text)

    def _walltime(self, facts: Facts) -> list[str]:
        if self.spec.job.walltime is not None:
            return [f"walltime {self.spec.job.walltime}"]
        defaults = {queue.default_walltime for queue in facts.meant}
        if len(defaults) == 1 and (default := defaults.pop()) is not None:
            return [f"walltime {span(default)}, the {self.noun}'s default, since job.walltime is not given"]
        return []

    def _short(self, allowance: Allowance, cores: int) -> str:
        """That fewer workers than asked for can be there at a time, and how many; empty where all can."""
        each = self.spec.packing.workers_per_job
        wanted = math.ceil(self.spec.workers.maximum / each)
        bounds = [
            (allowance.jobs, f"you may have {counted(allowance.jobs or 0, 'job')}"),
            (allowance.running, f"{allowance.running} of your jobs may run at a time"),
            (allowance.cores // cores if allowance.cores is not None else None,
             f"your jobs may use {amount('cores', allowance.cores or 0)} at a time"),
        ]  # fmt: skip
        limits = [(bound, words) for bound, words in bounds if bound is not None and bound < wanted]
        if not limits:
            return ""
        bound, words = min(limits)
        asked = f"{counted(self.spec.workers.maximum, 'worker')} are {counted(wanted, 'job')}"
        return f"{asked}, and {words}: {bound * each} workers at a time; the others wait for a place"


def _limits(allowance: Allowance, used: int) -> str:
    if allowance.jobs is not None:
        return f"your limit {counted(allowance.jobs, 'job')}, {used} in use"
    if allowance.running is not None:
        return f"up to {allowance.running} of your jobs run at a time; {_in_use(used)}"
    return _in_use(used)


def _in_use(used: int) -> str:
    return f"{counted(used, 'job') if used else 'no job'} of yours now"


def _some(names: Sequence[str]) -> str:
    shown = list(dict.fromkeys(names))
    return ", ".join(shown[:NAMED]) + (f" and {len(shown) - NAMED} more" if len(shown) > NAMED else "")
