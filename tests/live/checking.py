"""What the doctor says on a batch system that is there: the same stories on each, told to a :class:`Patient`."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import clusterhub
from clusterhub.api import CheckReport
from clusterhub.backend import Finding

SMALL: dict[str, Any] = {"workers": 1, "worker": {"cores": 1, "memory": "300 MiB"}, "job": {"walltime": "5m"}}
TIME = r"[\d.]+ m?s"
STAGES = (
    rf"scheduler up {TIME} · (submitted {TIME} · )?(running {TIME} · )?connected {TIME} via [\d.]+"
    rf" · result {TIME} · gone {TIME}"
)
"""A stage that is over before anybody looks is not told."""


class Patient(ABC):
    """One batch system, as a test of the doctor sees it."""

    backend: str
    noun: str
    """What it calls a queue; the option of that name chooses one."""
    version: str
    queue: str
    """The one that is taken where none is named."""
    too_long: str
    """A walltime that a queue refuses, and which one does."""
    short_queue: str

    @abstractmethod
    def jobs(self) -> list[str]:
        """Those that wait or run."""

    @abstractmethod
    def busy(self) -> AbstractContextManager[None]:
        """It starts nothing meanwhile."""

    @abstractmethod
    def outage(self) -> AbstractContextManager[None]:
        """It answers nobody meanwhile."""


class CheckStories:
    """Subclass it, and name the patient."""

    patient: ClassVar[Patient]

    def check(self, start: bool = False, **said: Any) -> CheckReport:
        return clusterhub.check(self.patient.backend, start=start, **{**SMALL, **said})

    def named(self, title: str, report: CheckReport) -> Finding:
        return next(step for step in report.steps if step.title.startswith(title))

    def on(self, queue: str) -> dict[str, Any]:
        return {self.patient.backend: {self.patient.noun: queue}}

    def test_looking_finds_all_that_a_cluster_needs_and_submits_nothing(self) -> None:
        report = self.check()
        assert report.ok, str(report)
        assert self.patient.version in self.named("commands", report).text
        assert self.named(self.patient.noun, report).title == f"{self.patient.noun} {self.patient.queue}"
        job = self.named("job", report)
        assert (job.mark, "walltime 5m" in job.text, "fits" in job.text) == ("ok", True, True)
        assert self.named("python", report).mark == "ok"
        assert self.patient.jobs() == []

    def test_one_worker_really_runs_and_each_stage_is_told(self) -> None:
        report = self.check(start=True)
        worker = self.named("one worker", report)
        assert re.fullmatch(STAGES, worker.text), str(report)
        assert self.named("versions", report).mark == "ok"
        assert self.patient.jobs() == []

    def test_what_the_system_would_refuse_is_told_before_it_is_asked(self) -> None:
        report = self.check(job={"walltime": self.patient.too_long}, **self.on(self.patient.short_queue))
        job = self.named("job", report)
        assert job.mark == "fail"
        assert f"asks for {self.patient.too_long}, and {self.patient.short_queue} allows " in job.text
        assert f"because  call  job.walltime = {self.patient.too_long}" in job.text
        gpus = self.named("job", self.check(worker={**SMALL["worker"], "gpus": 64})).text
        assert re.match(r"asks for 64 GPUs on one node, and (no node has any|the largest node has \d+ GPUs);", gpus)
        unknown = self.named(self.patient.noun, self.check(**self.on("nosuch")))
        assert unknown.text.startswith(f"there is no {self.patient.noun} nosuch; there are ")

    def test_a_worker_that_fails_is_told_with_its_cause_and_leaves_nothing(self) -> None:
        report = self.check(start=True, environment={"setup": ["true", "no-such-command"]})
        worker = self.named("one worker", report)
        assert "a line of their setup failed" in worker.text
        assert "environment.setup" in worker.text
        assert self.patient.jobs() == []

    def test_a_queue_that_starts_nothing_is_waited_for_and_given_up(self) -> None:
        news: list[str] = []
        with self.patient.busy():
            report = clusterhub.check(self.patient.backend, start=True, patience=12, on_news=news.append, **SMALL)
            worker = self.named("one worker", report)
            assert worker.mark == "fail"
            assert "is still pending after 12s: " in worker.text
            assert worker.text.endswith("--start --timeout 1m")
            assert [each for each in news if " is pending: " in each] == news[-1:], "it says it once"
            assert self.patient.jobs() == []

    def test_a_system_that_is_away_is_one_clear_row(self) -> None:
        with self.patient.outage():
            report = self.check()
        queue = self.named(self.patient.noun, report)
        assert (queue.mark, "does not answer, so nothing can be submitted now" in queue.text) == ("fail", True)
        assert [step.mark for step in report.steps].count("fail") == 1
        assert self.named("python", report).mark == "ok"
