"""The control loop over a batch system in memory: each test is something that happens to clusters."""

from __future__ import annotations

import asyncio
import contextlib
import time
from types import SimpleNamespace

import pytest

from clusterhub_backends.batch import departing, following, inquest, loop, pacing, roster, submitting, walltime
from unit.batch.fakes import Entry, World


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The same, at fifty times the speed; but pilots are waited for as long as a slow machine may take to list them."""
    for module, name, value in (
        (loop, "INTERVAL", 0.01), (loop, "CALM", 0.02), (loop, "ENDING_LOOK", 0.01),
        (pacing, "QUICKEST", 0.02), (pacing, "SLOWEST", 0.1),
        (submitting, "LATE", 0.2), (submitting, "LOOK", 0.02), (submitting, "LOOK_FOR_GHOSTS", 0.02),
        (submitting, "COUNT_AGAIN", 0.1), (submitting, "PILOT_PATIENCE", 60.0),
        (departing, "DRAIN_AGAIN", 0.02), (departing, "DISMISS_AGAIN", 0.2),
        (following, "LEAST_PATIENCE", 0.3), (inquest, "LOG_PATIENCE", 0.0), (roster, "GONE_PATIENCE", 0.3),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    failed = pacing.Backoff.failed

    def failed_for_a_moment(self):
        failed(self)
        self._until = time.monotonic() + (self._until - time.monotonic()) / 50

    monkeypatch.setattr(pacing.Backoff, "failed", failed_for_a_moment)


@contextlib.asynccontextmanager
async def running(world):
    task = asyncio.create_task(world.loop.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(holds, what="it"):
    for _ in range(6000):
        if holds():
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"{what} did not come about: {holds}")


async def connected(world, n):
    await until(lambda: world.loop.roster.connected == n, f"{n} connected workers")


async def steady(world, jobs):
    """That many jobs are there, and stay that many."""
    await until(lambda: len(world.queue.alive()) == jobs, f"{jobs} jobs, not {len(world.queue.alive())}")
    await asyncio.sleep(0.3)
    assert len(world.queue.alive()) == jobs


# Coming


async def test_a_few_jobs_are_tried_and_the_others_follow_in_one_submission():
    world = World(200, per_job=2)
    async with running(world):
        await steady(world, 4)
        world.start()
        await steady(world, 100)
    assert world.queue.asked["submit"] == 2


async def test_a_spec_that_fails_burns_few_jobs_however_often_it_is_asked_for_again():
    world = World(200)
    world.queue.on_submit = lambda made: [world.end(entry, code=83) for entry in made]
    async with running(world):
        await until(lambda: world.loop.failure is not None)
        assert "python does not exist" in world.loop.failure.summary
        assert len(world.queue.entries) <= 5
        world.loop.submitter._piloted -= submitting.PILOT_PATIENCE  # they were waited for as long as pilots are
        before = len(world.queue.entries)
        world.loop.aim(world.loop._following.limits)
        await until(lambda: world.loop.failure is not None and len(world.queue.entries) > before)
        await asyncio.sleep(0.3)
        assert len(world.queue.entries) - before <= 5


async def test_where_the_queue_is_long_the_others_take_their_place_in_it_and_start_few_at_a_time(monkeypatch):
    monkeypatch.setattr(submitting, "PILOT_PATIENCE", 0.5)
    world = World(50)
    async with running(world):
        await until(lambda: len(world.queue.alive()) == 50)
        assert world.queue.throttled == {"2"}
        world.start(world.queue.alive()[:1])
        await until(lambda: world.queue.throttled == set())
    assert world.queue.asked["submit"] == 2


async def test_pilots_that_run_and_have_not_proven_themselves_yet_are_waited_for(monkeypatch):
    """As when no address of the scheduler answers: a job tries that for most of a minute."""
    world = World(50)
    async with running(world):
        await until(lambda: len(world.queue.alive()) == 4)
        pilots = world.queue.alive()
        world.start(pilots, workers=0)
        await until(lambda: all(member.runs_since is not None for member in world.loop.roster), "a listing")
        monkeypatch.setattr(submitting, "PILOT_PATIENCE", 0.1)
        await asyncio.sleep(0.5)
        assert len(world.queue.entries) == 4
        for entry in pilots:
            world.end(entry, code=86)
        await until(lambda: world.loop.failure is not None)
    assert len(world.queue.entries) <= 5


async def test_where_the_system_cannot_hold_jobs_back_the_others_wait_longer(monkeypatch):
    monkeypatch.setattr(submitting, "PILOT_PATIENCE", 0.5)
    world = World(50)
    world.queue.throttles = False
    async with running(world):
        await until(lambda: world.queue.asked["submit"] >= 2, "a submission that is to be held back")
        await steady(world, 4)
        monkeypatch.setattr(submitting, "LONG_PATIENCE", 0.5)
        await until(lambda: len(world.queue.alive()) == 50)
    assert world.queue.asked["submit"] == 3


async def test_jobs_that_die_beside_workers_that_live_are_not_submitted_without_end():
    world = World(4)
    async with running(world):
        await until(lambda: len(world.queue.alive()) == 4)
        world.start()
        await connected(world, 4)
        world.queue.on_submit = lambda made: [world.end(entry) for entry in made]
        world.loop.aim(type(world.loop._following.limits).exactly(8))
        await asyncio.sleep(2.0)
        assert world.loop.failure is None
        assert world.queue.asked["submit"] < 10
        assert len(list(world.loop.roster)) < 20
        assert world.loop.why_unborn[0]


async def test_an_array_that_the_site_finds_too_large_is_cut():
    world = World(100)
    world.queue.largest = 30
    async with running(world):
        await until(lambda: len(world.queue.alive()) == 4)
        world.start()
        await steady(world, 100)


# Limits


async def test_a_limit_is_asked_for_after_the_first_refusal_and_no_other_follows():
    world = World(300, per_job=2)
    world.queue.limit = 100
    async with running(world):
        await until(lambda: len(world.queue.alive()) == 4)
        world.start()
        await steady(world, 100)
        submissions = world.queue.asked["submit"]
        assert submissions == 3  # pilots, all the others, as many as there is room for
        assert "100 of your 100 jobs" in world.loop.why_unborn[0]
        world.start()
        await connected(world, 200)
        world.end(world.queue.alive()[0], "cancelled")
        await until(lambda: world.queue.asked["submit"] == submissions + 1)
        await steady(world, 100)
        assert world.queue.asked["submit"] == submissions + 1


async def test_places_that_others_of_ones_jobs_hold_are_taken_once_they_are_free():
    world = World(10)
    world.queue.limit = 12
    others = [Entry(90, index, 5, "theirs", "running") for index in range(5)]
    world.queue.entries += others
    async with running(world):
        await until(lambda: len(world.queue.alive()) == 9)
        world.start()
        await steady(world, 12)
        for entry in others:
            entry.state = "done"
        await steady(world, 10)


async def test_a_limit_that_is_not_told_is_found_by_trying_less():
    world = World(50)
    world.queue.limit, world.queue.tells_limit = 20, False
    async with running(world):
        await until(lambda: len(world.queue.alive()) == 4)
        world.start()
        await until(lambda: len(world.queue.alive()) == 20)
        await until(lambda: world.loop.why_unborn[0].startswith("queue full"))
        world.queue.limit = 60
        await steady(world, 50)


async def test_what_is_refused_later_stops_nothing_that_runs_and_is_tried_again():
    world = World(4)
    async with running(world):
        await until(lambda: len(world.queue.alive()) == 4)
        world.start()
        await connected(world, 4)
        world.queue.refuses = "the queue is closed"
        world.loop.aim(type(world.loop._following.limits).exactly(5))
        await until(lambda: "closed" in world.loop.why_unborn[0])
        assert world.loop.failure is None
        world.queue.refuses = ""
        await until(lambda: len(world.queue.alive()) == 5)


# Answers that are lost


async def test_a_submission_whose_answer_was_lost_is_found_and_not_doubled():
    world = World(4)
    world.queue.lose_answer = True
    async with running(world):
        await steady(world, 4)
        world.start()
        await connected(world, 4)


async def test_a_submission_that_arrives_when_it_was_given_up_is_ended():
    world = World(4)
    made = []

    def lost(entries):
        if not made:
            made.extend(entries)
            entries.clear()

    world.queue.on_submit, world.queue.lose_answer = lost, True
    async with running(world):
        await until(lambda: len(world.queue.alive()) == 4)
        world.queue.entries += made
        await until(lambda: not any(entry.alive for entry in made))
        assert len(world.queue.alive()) == 4


async def test_an_outage_doubles_nothing_loses_nothing_and_asks_little():
    world = World(4)
    async with running(world):
        await until(lambda: len(world.queue.alive()) == 4)
        world.start()
        await connected(world, 4)
        world.queue.down = "connection refused"
        world.loop.aim(type(world.loop._following.limits).exactly(6))
        world.queue.asked.clear()
        await until(lambda: bool(world.loop.outage))
        await asyncio.sleep(0.5)
        assert world.states["connected"] == 4
        assert world.queue.asked["submit"] + world.queue.asked["cancel"] <= 3
        assert any("does not answer" in remark for remark in world.loop.remarks)
        world.queue.down = ""
        await steady(world, 6)
        assert world.loop.outage == ""


async def test_a_job_that_was_only_just_submitted_leaves_without_its_neighbours():
    world = World(4)
    async with running(world):
        await until(lambda: any(member.array for member in world.loop.roster))
        world.loop.aim(type(world.loop._following.limits).exactly(2))
        await steady(world, 2)


# Ends


@pytest.mark.parametrize("steps", range(5))
async def test_a_loop_that_is_cancelled_as_it_is_woken_ends(monkeypatch, steps):
    """It went on for ever where both came in one turn of the event loop, and closing waited for it."""
    monkeypatch.setattr(loop, "INTERVAL", 60.0)
    for before in range(5):
        world = World(0)
        task = asyncio.create_task(world.loop.run())
        await asyncio.sleep(0.02)
        for _ in range(before):
            await asyncio.sleep(0)
        world.loop.wake()
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=30)
        assert done, "it goes on"


async def test_jobs_are_ended_though_their_submission_was_under_way_or_its_answer_lost():
    world = World(4)
    world.queue.lose_answer = True
    async with running(world):
        await until(lambda: world.queue.asked["submit"])
    assert await world.loop.end(5.0) == []
    assert world.queue.alive() == []


async def test_an_end_during_an_outage_names_what_is_left():
    world = World(3)
    async with running(world):
        await until(lambda: world.states["pending"] == 3)
        world.queue.down = "connection refused"
    assert await world.loop.end(0.3) == ["1.0", "1.1", "1.2"]
    world.queue.down = ""
    assert await world.loop.end(5.0) == []
    assert world.queue.alive() == []


async def test_jobs_that_do_not_end_are_told_so_again():
    world = World(3)
    async with running(world):
        await until(lambda: world.states["pending"] == 3)
        world.queue.deaf = True
        world.loop.aim(type(world.loop._following.limits).exactly(0))
        await until(lambda: world.queue.asked["cancel"] >= 2)
        world.queue.deaf = False
        await steady(world, 0)
        await until(lambda: not list(world.loop.roster))


async def test_half_of_the_jobs_killed_at_once_are_replaced():
    world = World(20)
    async with running(world):
        await until(lambda: len(world.queue.alive()) == 4)
        world.start()
        await until(lambda: len(world.queue.alive()) == 20)
        world.start()
        await connected(world, 20)
        for entry in world.queue.alive()[::2]:
            world.end(entry, "cancelled")
        await until(lambda: any(entry.state == "pending" for entry in world.queue.alive()))
        await steady(world, 20)
        world.start()
        await connected(world, 20)
        await until(lambda: world.states == {"connected": 20})


# Half a job, and none


async def test_a_job_whose_second_worker_never_comes_is_replaced_and_then_drained(monkeypatch):
    world = World(4, per_job=2)
    world.loop.roster.startup_timeout = 0.5
    async with running(world):
        await until(lambda: len(world.queue.alive()) == 2)
        whole, half = world.queue.alive()
        world.start([whole])
        world.start([half], workers=1)
        await until(lambda: len(world.queue.alive()) == 3, "a successor")
        world.start()
        await until(lambda: not half.alive)
        assert world.link.retired == [f"tcp://{half.id}:00"]
        await steady(world, 2)
        await connected(world, 4)


async def test_a_job_that_runs_without_its_workers_is_ended_and_replaced():
    world = World(2)
    world.loop.roster.startup_timeout = 0.5
    async with running(world):
        await until(lambda: len(world.queue.alive()) == 2)
        world.start()
        await connected(world, 2)
        lost = world.queue.alive()[0]
        world.leave(lost)
        await until(lambda: world.states["lost"] == 1)
        await until(lambda: not lost.alive)
        world.start()
        await connected(world, 2)


async def test_jobs_whose_workers_never_come_are_missing_and_enough_of_them_is_a_failure():
    world = World(8)
    world.loop.roster.startup_timeout = 0.2
    world.queue.on_submit = lambda made: world.start(made, workers=0)
    async with running(world):
        await until(lambda: world.states["missing"] > 0)
        await until(lambda: world.loop.failure is not None)
        assert "never came" in world.loop.failure.summary
        await until(lambda: world.queue.alive() == [])


async def test_a_job_that_is_started_anew_is_not_taken_for_what_it_was():
    world = World(1)
    async with running(world):
        await until(lambda: len(world.queue.alive()) == 1)
        world.start()
        await connected(world, 1)
        entry = world.queue.alive()[0]
        entry.state, entry.restarts = "pending", 1  # and the scheduler still knows the worker
        world.loop.wake()
        await until(lambda: world.states["pending"] == 1)
        world.start()
        await connected(world, 1)
        await until(lambda: world.states == {"connected": 1})
        assert world.queue.asked["submit"] == 1


async def test_what_can_never_run_is_told_at_once():
    world = World(8)

    def never(made):
        for entry in made:
            entry.never = True

    world.queue.on_submit = never
    async with running(world):
        await until(lambda: world.loop.failure is not None)
        assert "never run" in world.loop.failure.summary
        await until(lambda: world.queue.alive() == [])
        assert len(world.queue.entries) <= 4


# Walltime


async def test_successors_are_there_before_jobs_end_and_take_their_results(monkeypatch):
    monkeypatch.setattr(walltime, "SHARE", 1.0)  # at once, and nearly a minute before it is too late
    world = World(2, walltime="1h")
    async with running(world):
        await until(lambda: len(world.queue.alive()) == 2)
        world.start()
        await connected(world, 2)
        first = list(world.queue.entries)
        for entry in first:
            entry.limit = 100.0  # the queue allows less than was asked for
        await until(lambda: len(world.queue.alive()) == 4, "successors")
        assert all(entry.alive for entry in first)
        world.start()
        await until(lambda: not any(entry.alive for entry in first))
        assert sorted(world.link.retired) == sorted(f"tcp://{entry.id}:00" for entry in first)


async def test_where_the_queue_is_full_a_share_goes_early_so_that_somebody_takes_its_results(monkeypatch):
    monkeypatch.setattr(walltime, "SHARE", 1.0)
    world = World(8, walltime="1h")
    world.queue.limit = 8
    async with running(world):
        await until(lambda: len(world.queue.alive()) == 4)
        world.start()
        await until(lambda: len(world.queue.alive()) == 8)
        world.start()
        await connected(world, 8)
        first = world.queue.alive()
        world.queue.on_submit = world.start
        for entry in first:
            entry.limit = 100.0
        await until(lambda: world.link.retired != [])
        assert len(world.link.retired) <= 4
        await until(lambda: len(world.link.retired) >= 7)
        monkeypatch.setattr(walltime, "LATE_SHARE", 1.0)  # the last one stays until it is late
        await until(lambda: len(world.link.retired) >= 8)
        await until(lambda: not any(entry.alive for entry in first), "the end of the first")


async def test_a_task_that_no_job_is_long_enough_for_is_named_until_it_ends(monkeypatch):
    monkeypatch.setattr(walltime, "SHARE", 0.95)  # long before it is too late
    world = World(1, walltime="30s")
    async with running(world):
        await until(lambda: len(world.queue.alive()) == 1)
        world.start()
        await connected(world, 1)
        world.link.running = {"eternal-1": 29.0}
        await until(lambda: len(world.queue.alive()) == 2)
        world.start()
        await until(lambda: world.loop.remarks != [])
        assert "eternal-1" in world.loop.remarks[0]
        assert "job.walltime" in world.link.warnings[0]
        world.link.running = {}
        await until(lambda: world.loop.remarks == [])


# Following the load


async def test_a_fluctuation_of_the_load_cancels_nothing_that_waits(monkeypatch):
    world = World({"minimum": 0, "maximum": 10})
    now, fluctuation = 0.0, 3 * [1, 1, 4, 4]

    async def target(duration):
        nonlocal now
        now += 0.1  # a third of what less has to last
        return fluctuation.pop(0) if fluctuation else world.link.target

    async with running(world):
        world.link.target = 4
        await until(lambda: len(world.queue.alive()) == 4)
        monkeypatch.setattr(following, "time", SimpleNamespace(monotonic=lambda: now))
        monkeypatch.setattr(world.link, "adaptive_target", target)
        await until(lambda: not fluctuation)
        await steady(world, 4)
        assert world.queue.asked["cancel"] == 0
        world.link.target = 0
        await steady(world, 0)


async def test_results_that_nobody_can_take_keep_their_worker():
    world = World(2)
    async with running(world):
        await until(lambda: len(world.queue.alive()) == 2)
        world.start()
        await connected(world, 2)
        world.link.stuck = set(world.link.workers)
        world.loop.aim(type(world.loop._following.limits).exactly(0))
        await until(lambda: any("no other worker can take" in member.note for member in world.loop.roster))
        assert len(world.queue.alive()) == 2
        world.link.stuck = set()
        await steady(world, 0)
