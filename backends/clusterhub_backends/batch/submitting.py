"""Submitting: a few jobs first, the others in bulk, within what the queue takes, and never anything twice."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

from clusterhub import Failure, QueueFull, SubmitRejected
from clusterhub_backends.batch.commands import Commands, user
from clusterhub_backends.batch.driver import ArrayTooLarge, Driver, Job, JobState, Rejected, Submission, SystemDown
from clusterhub_backends.batch.names import prefix_of, submission_name
from clusterhub_backends.batch.pacing import Backoff
from clusterhub_backends.batch.roster import Member, Roster

logger = logging.getLogger(__name__)

PILOTS = 4
"""Jobs of an unproven spec that are submitted before the others: a bad one burns these and no more."""
BURNT = 5
"""Jobs that an unproven spec may cost before they are tried one by one."""
PILOT_PATIENCE, LONG_PATIENCE = 20.0, 600.0
"""Seconds for which the others wait for pilots that the queue does not start: then they are submitted, so that they do not lose
their place in it, but start only a few at a time; and where the system knows no such thing."""
COUNT_AGAIN = 60.0
"""Seconds after which a full queue is counted again: others of your jobs may have ended, or the limit been raised."""
LATE = 15.0
"""Seconds for which a submission whose answer was lost is looked for, from when the system answers again: it may arrive late."""
LOOK, LOOK_FOR_GHOSTS = 2.0, 30.0
"""Seconds between two looks for them."""
GHOST = 600.0
"""Seconds for which one that was not found is still remembered, to be ended should it turn up after all."""


@dataclass
class Lost:
    """A submission whose answer was lost: it may be in the queue, or not."""

    submission: Submission
    members: list[Member]
    answered: float | None = None
    """When the system first answered again (monotonic seconds)."""


@dataclass
class Room:
    """What a full queue has for us."""

    jobs: int
    """How many jobs of this cluster it takes."""
    counted: float = field(default_factory=time.monotonic)
    sure: bool = True
    """Whether the system told its limit; else it was found by trying."""


class Submitter:
    """Brings jobs into the queue, one submission at a time; each runs to its end whoever stops waiting for it."""

    def __init__(
        self,
        driver: Driver,
        commands: Commands,
        roster: Roster,
        uid: str,
        script: Callable[[str, int], str],
        give_up: Callable[[Failure], None],
        wake: Callable[[], None],
    ) -> None:
        self._driver = driver
        self._commands = commands
        self._roster = roster
        self._uid = uid
        self._script = script
        self._give_up = give_up
        self._wake = wake
        self.outage = ""
        """What the system said when it last took no submission; empty once it did."""
        self._number = 0
        self._largest = driver.largest_array
        self._room: Room | None = None
        self._backoff = Backoff()
        self._healing = Backoff(first=2.0, most=300.0)
        self._piloted: float | None = None
        self._tried = 0
        self._step = 1
        """How many more jobs are tried where a full queue tells no limit."""
        self._throttles = True
        self._throttled: list[str] = []
        """Submissions of which only a few may run at a time, since the spec had not proven itself."""
        self._lost: list[Lost] = []
        self._ghosts: dict[str, float] = {}
        self._look_again = 0.0
        self._full: QueueFull | None = None
        self._over: tuple[QueueFull, Submission] | None = None
        """The submission that was over the limit, and how that was said."""
        self._work: asyncio.Task[None] | None = None
        self.proven = False
        """Whether a job of this spec has shown that it can start."""
        self.refused: Rejected | None = None
        """Why the system refuses now what it took before; None while it takes it."""

    def forgive(self) -> None:
        """Whoever asks again wants it tried again, at once."""
        self._tried = 0
        self._piloted = None
        if self._room is not None and not self._room.sure:
            self._room = None
        self._backoff.worked()
        self._healing.worked()
        self.refused = None

    def answered(self) -> None:
        """The system answers: what waited for that may be tried at once."""
        self.outage = ""
        self._backoff.worked()

    def burnt(self) -> None:
        """A job ended before it was of use: the next one waits a little longer, since its node may burn all that it gets."""
        if self._healing.over:  # of several that end together the first one counts
            self._healing.failed()

    def healed(self) -> None:
        """A job brought its workers."""
        self._healing.worked()

    @property
    def full(self) -> QueueFull | None:
        """The limit that keeps jobs from being submitted; None while the queue has places for us."""
        if self._full is None or self._room is None or self._free_places() > 0:
            return None
        limit = self._full.limit
        used = limit - self._room.jobs + self._ours() if limit is not None else None
        return QueueFull(limit=limit, used=used, source=self._full.source)

    @property
    def healing(self) -> bool:
        """Whether nothing is submitted for a while, since jobs ended before they were of use."""
        return not self._healing.over

    @property
    def piloted(self) -> bool:
        """Whether the first jobs are in the queue."""
        return self._piloted is not None

    @property
    def unanswered(self) -> list[str]:
        """The names of submissions that may be in the queue, or not."""
        return [lost.submission.name for lost in self._lost]

    @property
    def haunted(self) -> bool:
        """Whether a submission may be in the queue that we do not know as being there."""
        return bool(self._lost or self._ghosts)

    @property
    def busy(self) -> bool:
        """Whether a submission, or the search for one, is under way."""
        return self._work is not None and not self._work.done()

    async def settled(self) -> None:
        """Return once the submission that is under way has been answered, or has not."""
        if self._work is not None:
            await asyncio.wait([self._work])

    # More jobs

    def grow(self, missing: int) -> None:
        """Submit up to ``missing`` jobs: as many as may be now; or let go those that were held back. Returns at once."""
        if self.busy or not self._backoff.over:
            return
        if self.proven and self._throttled:
            self._begin(self._unthrottle())
            return
        if missing <= 0 or not self._healing.over:
            return
        if self._room is not None and time.monotonic() - self._room.counted > COUNT_AGAIN:
            self._begin(self._count_again())
            return
        count = min(missing, self._largest, self._unproven_room(), self._free_places())
        if count > 0:
            name = submission_name(self._uid, self._number)
            self._number += 1
            throttle = PILOTS if self._throttles and self._piloted_for > PILOT_PATIENCE and not self.proven else None
            at_a_time = throttle if count > PILOTS else None
            submission = Submission(name, count, self._script(name, count), at_a_time)
            self._begin(self._submit(submission, self._roster.add(name, count)))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._work = asyncio.create_task(self._to_its_end(work), name=f"clusterhub-submit-{self._uid[:8]}")

    async def _to_its_end(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except SystemDown as down:
            self.outage = str(down)
            self._backoff.failed()
            logger.warning("%s does not answer: %s", self._driver.system, down)
        except Exception:
            self._backoff.failed()
            logger.exception("submitting failed")
        finally:
            self._wake()

    def _unproven_room(self) -> int:
        """How many jobs may be submitted as long as none has shown that they can start."""
        if self.proven:
            return self._largest
        trying = sum(not member.dead for member in self._roster)
        patience = PILOT_PATIENCE if self._throttles else LONG_PATIENCE
        wait = not any(member.failure or member.runs_since is not None for member in self._roster)
        if trying and wait and self._piloted_for > patience:
            return self._largest  # the queue is long: they will start a few at a time
        # One at a time once a few were burnt for causes that differ.
        return max(min(PILOTS - trying, BURNT - self._tried), 0 if trying else 1)

    @property
    def _piloted_for(self) -> float:
        return time.monotonic() - self._piloted if self._piloted is not None else 0.0

    def _free_places(self) -> int:
        """Places that a full queue has for us, as far as we learnt its limit."""
        return self._largest if self._room is None else self._room.jobs - self._ours()

    def _ours(self) -> int:
        return sum(member.in_queue for member in self._roster)

    async def _submit(self, submission: Submission, members: list[Member]) -> None:
        try:
            output = await self._commands.run(self._driver.submit(submission))
            array = self._driver.submitted(submission, output)
        except SystemDown as down:
            if down.reached:
                self._lose(submission, members, down)
            else:
                self._roster.strike(members)
            raise
        except (QueueFull, SubmitRejected) as refused:
            self._roster.strike(members)
            await self._refused(refused, submission)
        except Exception as error:  # such as an answer that cannot be read: it may be there all the same
            self._lose(submission, members, error)
            raise
        else:
            self._accept(submission, array, members)

    async def _refused(self, refused: QueueFull | SubmitRejected, submission: Submission) -> None:
        try:
            if isinstance(refused, QueueFull):
                await self._meet_limit(refused, submission)
            else:
                self._reject(refused, submission)
        except SubmitRejected as rejected:
            self._reject(rejected, submission)

    def _lose(self, submission: Submission, members: list[Member], error: Exception) -> None:
        logger.warning("the answer to the submission %s is lost: %s", submission.name, error)
        for member in members:
            member.note = "was submitted, and the answer was lost; it is looked for"
        self._lost.append(Lost(submission, members))

    async def _unthrottle(self) -> None:
        """The spec has proven itself: all may start that could only a few at a time."""
        while self._throttled:
            output = await self._commands.run(self._driver.unthrottle(self._throttled[-1]))
            if output.code:
                self._backoff.failed()
                logger.warning(
                    "%s does not let all jobs of %s run: %s", self._driver.system, self._throttled[-1], output.words
                )
                return
            self._throttled.pop()

    def _accept(self, submission: Submission, array: str, members: Iterable[Member]) -> None:
        for member in members:
            member.array, member.note = array, ""
            member.own_id = self._driver.member(array, member.key.index, submission.count)
        self.answered()
        self._piloted = self._piloted or time.monotonic()
        self._tried += submission.count
        if submission.at_a_time is not None:
            self._throttled.append(array)
        if self._room is not None and not self._room.sure and self._free_places() <= 0 and self._step < self._largest:
            # What was tried was taken: twice as many may be. The first that is refused ends it for a while.
            self._step *= 2
            self._room = Room(self._ours() + self._step, sure=False)
        self.refused = None
        logger.info("submitted %d jobs as %s", submission.count, array)

    def _reject(self, rejected: SubmitRejected, submission: Submission) -> None:
        count = submission.count
        if isinstance(rejected, ArrayTooLarge) and count > 1:
            self._largest = max(1, min(rejected.largest or count // 2, count - 1))
            return
        if submission.at_a_time is not None and self._throttles:
            self._throttles = False  # an older system, which knows no such thing
            return
        because = rejected.because if isinstance(rejected, Rejected) else ""
        summary = str(rejected).splitlines()[0]
        if self.proven:
            # It took the same before: a budget may be used up, a rule have changed. What runs goes on, and it is tried again.
            self.refused = Rejected(summary, source=rejected.source, because=because)
            self._healing.failed()
            logger.warning("%s refuses further jobs: %s", self._driver.system, rejected)
            return
        next_step = "correct it; scale() tries again" if because else "ask your site; scale() tries again"
        self._give_up(Failure(summary=summary, source=rejected.source, because=because, next_step=next_step))

    # A full queue

    async def _meet_limit(self, full: QueueFull, submission: Submission) -> None:
        """The queue takes no more of ours at present: the target stays, and places are taken as they come free.

        Raises SubmitRejected where it turns out that no waiting will help.
        """
        ours, self._over = self._ours(), (full, submission)
        self._full = await self._with_figures(full, submission)
        if self._full.limit is not None:
            self._room = Room(max(0, self._full.limit - await self._others(self._full)))
            if self._room.jobs < ours + submission.count:
                return
        # It tells no limit, or one that this submission would have kept: what it takes can only be found by trying less.
        self._step = 1
        self._room = Room(ours + submission.count // 2, sure=False)
        self._backoff.failed()

    async def _with_figures(self, full: QueueFull, submission: Submission) -> QueueFull:
        if full.limit is not None:
            return full
        outputs = [await self._commands.run(command) for command in self._driver.limits(user())]
        return self._driver.limited(full, submission, outputs)

    async def _others(self, full: QueueFull) -> int:
        """How many of the places in use are not this cluster's: as the system counts them, else as the queue shows them."""
        if full.used is not None:
            return max(0, full.used - self._ours())
        jobs = [job for job in await self._all_of_user() if job.state is not JobState.DONE]
        return sum(not job.name.startswith(prefix_of(self._uid)) for job in jobs)

    async def _count_again(self) -> None:
        assert self._room is not None
        assert self._over is not None
        if not self._room.sure:  # found by trying, it can only be tried again
            self._room = Room(self._ours() + self._step, sure=False)
            return
        again = await self._with_figures(*self._over)
        if again.limit is not None:
            self._full, self._room = again, Room(max(0, again.limit - await self._others(again)))
        else:
            self._room = None

    async def _all_of_user(self) -> list[Job]:
        return list(self._driver.listed(await self._commands.run(self._driver.listing(user(), ()))))

    # A lost answer

    def look_for_lost(self) -> None:
        """Look for submissions whose answers were lost; never submit them twice. Returns at once."""
        now = time.monotonic()
        self._ghosts = {name: since for name, since in self._ghosts.items() if now - since < GHOST}
        if not self.busy and self.haunted and now >= self._look_again:
            self._look_again = now + (LOOK if self._lost else LOOK_FOR_GHOSTS)
            self._begin(self.find())

    async def find(self) -> None:
        """Look for them now: take those on that are there, end those that turned up too late. Raises SystemDown."""
        jobs: dict[str, list[Job]] = {}
        for job in await self._all_of_user():
            jobs.setdefault(job.name, []).append(job)
        now = time.monotonic()
        for lost in list(self._lost):
            name = lost.submission.name
            if found := jobs.get(name):
                logger.info("found the submission %s as %s", name, found[0].array)
                self._lost.remove(lost)
                self._accept(lost.submission, found[0].array, lost.members)
            elif lost.answered is None:
                lost.answered = now
            elif now - lost.answered > LATE:
                self._lost.remove(lost)
                self._roster.strike(lost.members)
                self._ghosts[name] = now
        for name in [name for name in self._ghosts if name in jobs]:
            logger.warning("the submission %s turned up after it was given up for lost, and is ended", name)
            for command in self._driver.cancel(list({job.array for job in jobs[name]})):
                self._driver.cancelled(await self._commands.run(command))
            del self._ghosts[name]
