"""How a cluster fares, as far as that can be proven from here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from clusterhub.display.words import age
from clusterhub.keeper.asking import job_fate
from clusterhub.keeper.identity import Life, Process
from clusterhub.keeper.record import BEAT, Record
from clusterhub.keeper.records import Store


class Condition(StrEnum):
    """How a cluster that is written down fares, as far as can be told from here."""

    LIVING = "living"
    STARTING = "starting"
    STOPPED = "stopped"
    DEAD = "dead"
    """Proven: its keeper is gone. What it started may be left."""
    UNKNOWN = "unknown"
    """Not to be touched from here: unreachable is not dead."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a cluster fares, and how that is known, in our words."""

    condition: Condition
    reason: str


def standing(record: Record, store: Store, *, ask: bool = False) -> Standing:
    """How the cluster of ``record`` fares: by the life of its keeper, and where that cannot be seen, by its heartbeat.

    With ``ask`` the batch system is asked too, where a keeper that is a job of it is not heard of any more.
    """
    who, beat = record.keeper or record.creator, store.heartbeat_age(record.name)
    life = who.life()
    if life is Life.DEAD and who.boot != Process.this().boot and _fresh(beat):
        life = Life.UNKNOWN  # the dead write nothing: this is not its host, but one with the same name and machine id
    stands = judged(record, life, beat)
    if ask and stands.condition is Condition.UNKNOWN and record.as_job and (fate := job_fate(record, store)):
        return Standing(Condition.DEAD, fate)
    return stands


def judged(record: Record, life: Life, beat: float | None) -> Standing:
    """What the life of its keeper, or of its creator before there is one, and the age of its heartbeat say. Pure."""
    who = record.keeper or record.creator
    subject = f"its keeper, {who}," if record.keeper else f"{who}, which was starting it,"
    if record.end is not None:
        return Standing(Condition.DEAD, f"it ended: {record.end.reason}")
    if life is Life.DEAD:
        return Standing(Condition.DEAD, f"{subject} is gone")
    if life is Life.STOPPED:
        return Standing(Condition.STOPPED, f"{subject} is stopped; it goes on after: kill -CONT {who.pid}")
    if life is Life.ALIVE:
        return Standing(Condition.LIVING if record.keeper else Condition.STARTING, f"{subject} lives")
    heard = "never heard of" if beat is None else f"not heard of for {_span(beat)}"
    if beat is not None and _fresh(beat):
        condition = Condition.LIVING if record.keeper else Condition.STARTING
        return Standing(condition, f"heard of {_span(beat)} ago from {who.host}")
    ask = "its keeper is a job there: clusterhub down ends it" if record.as_job else "ask there"
    return Standing(Condition.UNKNOWN, f"{heard}; it lives or lived on {who.host}, {ask}")


def _fresh(beat: float | None) -> bool:
    return beat is not None and beat < 3 * BEAT


def _span(seconds: float) -> str:
    epoch = datetime.fromtimestamp(0, UTC)
    return age(epoch, epoch + timedelta(seconds=seconds))
