"""The doctor on the stand-in for PBS."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from labs.pbs.lab import Lab
from live.checking import CheckStories, Patient

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the stand-in for PBS lives on /proc")


class Pbs(Patient):
    """The stand-in."""

    backend, noun, version = "pbs", "queue", "PBS 23.06.06"
    queue, short_queue, too_long = "workq", "short", "1h"
    lab: Lab

    def jobs(self) -> list[str]:
        rows = (line.split() for line in self.lab.run("qstat", "-t").stdout.splitlines()[2:])
        return [row[0] for row in rows if row and row[-2] not in "FXE"]

    @contextmanager
    def busy(self) -> Iterator[None]:
        self.lab.fault("stop", "workq")
        try:
            yield
        finally:
            self.lab.fault("start", "workq")

    @contextmanager
    def outage(self) -> Iterator[None]:
        self.lab.fault("server-down")
        try:
            yield
        finally:
            self.lab.fault("server-up")


@pytest.fixture(scope="module")
def pbs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("pbs")
    (folder / "home").mkdir()
    TestPbs.patient.lab = Lab(folder / "lab", folder / "home")
    TestPbs.patient.lab.up(poll=0.5)
    yield TestPbs.patient.lab
    TestPbs.patient.lab.down()


class TestPbs(CheckStories):
    patient = Pbs()

    @pytest.fixture(autouse=True)
    def commands(self, pbs: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", f"{pbs.bin}{os.pathsep}{os.environ['PATH']}")

    def test_limits_on_this_user_are_told_with_what_they_come_to(self, pbs: Lab) -> None:
        pbs.fault("max-queued", "5")
        try:
            report = self.check(workers=12)
        finally:
            pbs.fault("max-queued", "none")
        assert "your limit 5 jobs, 0 in use" in self.named("queue", report).text
        assert "12 workers are 12 jobs, and you may have 5 jobs: 5 workers at a time" in self.named("job", report).text

    @pytest.mark.parametrize(
        ("name", "mark", "words"),
        [
            ("disabled", "fail", "takes no jobs now (not enabled, started)"),
            ("stopped", "warn", "it takes jobs and starts none"),
        ],
    )
    def test_a_queue_that_takes_or_starts_nothing_is_told_of(self, name: str, mark: str, words: str) -> None:
        found = self.named("queue", self.check(**self.on(name)))
        assert (found.mark, words in found.text) == (mark, True)
