"""Asks the batch system after a keeper that is a job of it: the proof of a death that happened on a host out of sight."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import ValidationError

from clusterhub import registry
from clusterhub.backend import SubmitsKeeper, UnitState
from clusterhub.errors import ClusterhubError
from clusterhub.keeper.identity import Process
from clusterhub.keeper.record import WAITING, Record, Wait
from clusterhub.keeper.records import Store
from clusterhub.keeper.wire import plan_from

T = TypeVar("T")


def unit_of(record: Record, store: Store) -> str:
    """The system's name for the keeper's job; empty where it is not known."""
    if record.keeper_unit:
        return record.keeper_unit
    waiting = waited_for(record, store)
    return waiting.unit if waiting is not None else ""


def waited_for(record: Record, store: Store) -> Wait | None:
    """What whoever waits for the keeper's job last heard of it; None where nobody does, or did."""
    content = store.look(record.uid, record.name, WAITING)
    try:
        return Wait.model_validate_json(content) if content is not None else None
    except ValidationError:
        return None


def job_fate(record: Record, store: Store) -> str:
    """How the keeper's job ended, where the system proves it; empty where it lives, or nothing is proven. Blocks.

    That the system knows of no such job proves something only where it was submitted: another login node may be one of
    another system.
    """
    unit_name = unit_of(record, store)
    try:
        unit = _asked(record, lambda backend: backend.keeper_unit(plan_from(record.plan), unit_name))
    except ClusterhubError:
        return ""
    if unit is None:
        return "its keeper's job is gone, and the system keeps no record of it" if _submitted_here(record) else ""
    if unit.state is not UnitState.FAILED:
        return ""
    return f"{unit.failure.summary if unit.failure is not None else unit.reason} (job {unit.name})"


def end_job(record: Record, store: Store) -> None:
    """Have the system end the keeper's job. Blocks. Raises ClusterhubError where it does not answer, or cannot be asked."""
    unit_name = unit_of(record, store)
    _asked(record, lambda backend: backend.end_keeper(plan_from(record.plan), unit_name))


def _asked(record: Record, question: Callable[[SubmitsKeeper], Awaitable[T]]) -> T:
    backend = registry.backend(record.backend)
    backend.load()
    if not isinstance(backend, SubmitsKeeper):
        raise ClusterhubError(f"backend {record.backend} knows nothing of keepers that are jobs; upgrade it")
    if reason := backend.unusable():
        raise ClusterhubError(f"{record.backend} cannot be asked from here: {reason}")
    able = backend

    async def answer() -> T:
        return await question(able)

    return asyncio.run(answer())


def _submitted_here(record: Record) -> bool:
    here = Process.this()
    return (record.creator.host, record.creator.machine) == (here.host, here.machine)
