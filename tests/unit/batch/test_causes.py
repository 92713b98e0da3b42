"""Why jobs ended, where the batch system itself says nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusterhub_backends.batch.causes import failure_of
from clusterhub_backends.batch.driver import Ending, Exit, Job, JobState

FORGOTTEN = Exit(Ending.UNKNOWN, words="SLURM does not know it any more")


def job(state):
    return Job("30_4", "30", 4, "ch0g1", state)


@pytest.mark.parametrize(
    ("state", "lines", "summary"),
    [
        (JobState.PENDING, (), "they left the queue before anybody saw them run, most likely cancelled from outside"),
        (
            JobState.PENDING,
            ("clusterhub: job 34 index 4 on n1",),
            "they are gone, and the system keeps no record of how",
        ),
        (JobState.RUNNING, (), "they are gone, and the system keeps no record of how"),
        (JobState.RUNNING, ("ModuleNotFoundError: No module named 'xarray'",), "No module named 'xarray'"),
    ],
    ids=["waited", "waited, and has a log", "ran", "says why in its log"],
)
def test_of_a_job_that_nobody_remembers_no_more_is_claimed_than_was_seen(state, lines, summary):
    failure = failure_of(job(state), FORGOTTEN, Path("/logs/ch0g1.4.log"), lines)
    assert failure.summary == summary
    assert failure.source == FORGOTTEN.words
