"""Waiting for workers: when it is over, and how it ends badly. No clock and no cluster in here, so both fronts share it."""

from __future__ import annotations

from clusterhub.display import Display, Report
from clusterhub.errors import ClusterGone, ConfigError, WaitTimeout, WorkersFailed
from clusterhub.quantities import Duration

QUICK, CALM = 0.1, 1.0
"""Seconds between two looks: at the start of a wait, and once it lasts."""


def seconds(timeout: str | float | None) -> float | None:
    """A timeout as Python and Dask have it (seconds), or as a profile writes it (``30m``)."""
    if timeout is None or (isinstance(timeout, int | float) and not isinstance(timeout, bool) and timeout >= 0):
        return timeout
    if isinstance(timeout, int | float) and timeout < 0:
        raise ConfigError.of("must be 0 or more", origin="wait()", path=f"timeout = {timeout}")
    try:
        return Duration.parse(timeout)
    except ValueError as error:
        raise ConfigError.of(f"{error}, or a number of seconds", origin="wait()", path=f"timeout = {timeout}") from None


SILENCE = 120.0
"""Seconds that a scheduler may not answer during a wait without a timeout, before it is taken for gone."""


class Wait:
    """One wait for ``n`` workers: fed with reports, it says when it is over, and raises when it cannot end well."""

    def __init__(self, n: int, timeout: float | None, display: Display) -> None:
        self.n = n
        self.timeout = timeout
        self.display = display
        self._begun = False
        self._silent_since: float | None = None

    def over(self, report: Report, elapsed: float) -> bool:
        """Whether ``n`` workers are connected, ``elapsed`` seconds into the wait.

        Raises WorkersFailed once nothing more is launched, with the cause, and WaitTimeout after ``timeout`` seconds.
        """
        self._silent_since = None
        if self.n == 0:
            self.display.note(
                f"{report.name}: nothing to wait for, {report.target} workers are asked for"
                f" and {report.connected} connected"
            )
            return True
        if not self._begun:
            self._begun = True
            self.display.start(report, wanted=self.n)
        self.display.update(report, elapsed)
        if report.connected >= self.n:
            self.display.finish(report)
            return True
        if report.failure is not None:
            self.display.finish(report)
            raise WorkersFailed(report.failure, cluster=report.profile, support=report.support)
        if self.timeout is not None and elapsed >= self.timeout:
            self.display.finish(report)
            raise WaitTimeout(
                f"{self.n} workers of {report.name} were not there after {self.timeout:g} s: {report.headline}\n"
                f"they may still come: cluster.wait() waits on, cluster.report() says more"
            )
        return False

    def silent(self, gone: ClusterGone, elapsed: float) -> None:
        """The cluster did not answer just now. Raises ``gone`` for one that has ended or is silent for too long.

        A scheduler that is busy for ten seconds must not end a wait of hours.
        """
        if gone.final:
            raise gone
        self._silent_since = elapsed if self._silent_since is None else self._silent_since
        if self.timeout is not None and elapsed >= self.timeout:
            raise WaitTimeout(f"{self.n} workers were not there after {self.timeout:g} s, and {gone}") from gone
        if elapsed - self._silent_since > SILENCE:
            raise gone

    def pause(self, elapsed: float) -> float:
        """Seconds until the next look: a fiftieth of the time gone by, within bounds, and never past the timeout."""
        pause = min(max(QUICK, elapsed / 50), CALM)
        return pause if self.timeout is None else max(0.0, min(pause, self.timeout - elapsed))
