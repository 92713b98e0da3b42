"""How long a keeper lives that is a job itself, and what is said of it beforehand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from clusterhub.backend import Allocation, Backend, Leaf, NoOptions, Plan
from clusterhub.keeper.tenure import Tenure, foretold, margin
from clusterhub.spec import ClusterSpec


class Site(Backend):
    """A system that grants its jobs what it likes."""

    name = "site"
    contract = 1
    features = frozenset()
    options_type = NoOptions
    granted: datetime | None = None

    def allocation(self, *, with_end=False):
        return Allocation("job 7", "7", self.granted if with_end else None)

    def plan(self, name, spec, options):
        return Plan(name=name, backend=self.name, spec=spec, options=options)

    async def start(self, plan):
        raise AssertionError("nothing is started here")


def soon(seconds):
    return datetime.now(UTC) + timedelta(seconds=seconds)


@pytest.mark.parametrize(("tenure", "left"), [("20s", 15), ("1m", 15), ("5m", 30), ("12h", 120), ("30d", 120)])
def test_a_part_of_its_time_is_left_for_the_end(tenure, left):
    seconds = float(ClusterSpec(job={"walltime": tenure}).job.walltime)
    assert margin(timedelta(seconds=seconds)) == timedelta(seconds=left)


async def test_what_the_system_says_counts_more_than_what_was_asked_for():
    site = Site()
    tenure = Tenure(site, ClusterSpec(lifecycle={"job": {"walltime": "12h"}}))
    assert tenure.ends > soon(11 * 3600)
    site.granted = soon(1000)
    await tenure.look()
    assert soon(800) < tenure.ends < soon(1000)
    assert await tenure.over() == ""


async def test_where_nobody_knows_an_end_there_is_none():
    tenure = Tenure(Site(), ClusterSpec())
    await tenure.look()
    assert tenure.ends is None
    assert await tenure.over() == ""


async def test_it_ends_with_the_key_that_asks_for_longer_unless_it_was_granted_more_meanwhile():
    site = Site()
    site.granted = soon(10)
    tenure = Tenure(site, ClusterSpec(job={"walltime": "1m"}))
    await tenure.look()
    site.granted = soon(3600)
    assert await tenure.over() == ""
    assert tenure.ends > soon(3000)
    site.granted = soon(5)
    await tenure.look()
    assert "lifecycle.job.walltime asks for longer" in await tenure.over()


def planned(said, *, values=()):
    spec = ClusterSpec(**said)
    return Plan(name="eddies", backend="site", spec=spec, options=NoOptions(), values=values)


SAID = (Leaf("lifecycle.max_age", "2d", "call", is_default=False),)


@pytest.mark.parametrize(
    ("said", "kept", "values", "words"),
    [
        (
            {"job": {"walltime": "12h"}},
            True,
            (),
            "it may live for 7d (lifecycle.max_age), and ends with its keeper's job",
        ),
        ({"job": {"walltime": "12h"}}, True, (), "after 12h (job.walltime); lifecycle.job.walltime asks for longer"),
        ({"lifecycle": {"job": {"walltime": "1d"}}}, True, (), "after 1d (lifecycle.job.walltime)"),
        ({"lifecycle": {"max_age": "never", "job": {"walltime": "1d"}}}, True, (), "to live until it is told to end"),
        ({"lifecycle": {"max_age": "2d", "job": {"walltime": "1d"}}}, False, SAID, "it may live for 2d"),
        ({"job": {"walltime": "12h"}}, False, (), ""),
        ({"lifecycle": {"max_age": "1h", "job": {"walltime": "1d"}}}, True, SAID, ""),
        ({}, True, (), ""),
    ],
)
def test_what_would_outlast_its_job_is_said_beforehand(said, kept, values, words):
    found = foretold(planned(said, values=values), kept=kept)
    assert words in found
    assert bool(found) == bool(words)
