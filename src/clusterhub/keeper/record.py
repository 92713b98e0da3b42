"""What is written down of one cluster, and how it is read again."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, Field, JsonValue, ValidationError
from pydantic_core import from_json

from clusterhub.display.words import flat
from clusterhub.errors import ClusterhubError
from clusterhub.keeper.identity import Process
from clusterhub.spec import Frozen

FORMAT = 1
"""The version of what is written. It rises whenever a field comes or goes, so that an older reader knows what it met."""
BEAT = 15.0
"""Seconds after which a keeper writes its status again even if nothing has changed."""
RECORD = "record.json"
ORDER, WAITING, ANSWER = "order.json", "waiting.json", "answer.json"
"""Beside it, where the keeper is a job of its own: what is wanted of it, with secrets, until it has read it; a sign of life of
whoever waits for it, with what the queue says; and how its start went."""

Count = Annotated[int, Field(ge=0)]


class NotThere(ClusterhubError, LookupError):
    """No cluster of that name is written down."""


class Unreadable(ClusterhubError):
    """A record that cannot be read, where it lies and what to do about it. Nothing is concluded from it."""


class Newer(Unreadable):
    """A record that a later clusterhub wrote, in a format that this one does not know."""


class NotOurs(ClusterhubError):
    """The name was freed, or is another cluster's by now: whoever writes lost it."""


class Taken(ClusterhubError):
    """The name is in use; ``record`` is that of the cluster that has it."""

    def __init__(self, record: Record) -> None:
        self.record = record
        where = record.keeper or record.creator
        super().__init__(f"{record.name} is taken: a cluster of that name is written down ({record.state}, {where})")


class End(Frozen):
    """When a cluster ended, and why."""

    when: AwareDatetime
    reason: str
    left: bool = False
    """Whether some of its units could not be ended: then the record stays, since they are found by it."""


class Record(Frozen):
    """What is known of a cluster wherever its keeper runs. Of secrets it holds the path of the dashboard, and no other."""

    format: Annotated[int, Field(ge=1, le=FORMAT)] = FORMAT
    contract: int
    """The ``CONTRACT`` of backends that its keeper speaks."""
    uid: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    """Tells it from every other cluster, also from later ones of its name."""
    name: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
    profile: str
    backend: str
    state: Literal["starting", "running", "ending"]
    named: bool
    """Whether a person chose its name."""
    kept: bool
    creator: Process
    keeper: Process | None = None
    """None until it runs."""
    address: str = ""
    dashboard: str = ""
    created: AwareDatetime
    plan: dict[str, JsonValue]
    """What it was to be, without secrets."""
    ref: dict[str, JsonValue] = Field(default_factory=dict)
    """What its backend needs to find it again; under ``data``, as ``keeper``, the unit that its keeper is."""
    version: str
    """Of the clusterhub that wrote this."""
    python: str
    end: End | None = None

    @property
    def as_job(self) -> bool:
        """Whether its keeper is, or is to be, a job of the batch system itself."""
        spec = self.plan.get("spec")
        lifecycle = spec.get("lifecycle") if isinstance(spec, dict) else None
        return isinstance(lifecycle, dict) and lifecycle.get("host") == "job"

    @property
    def keeper_unit(self) -> str:
        """The system's name for that job; empty where there is none, or it is not known."""
        data = self.ref.get("data")
        unit = data.get("keeper") if isinstance(data, dict) else None
        return unit if isinstance(unit, str) else ""


class Wait(Frozen):
    """What whoever waits for the keeper's job last heard of it."""

    unit: str
    """The system's name for the job."""
    text: str
    """``waits for enough free cores and memory (Resources)``."""


class Status(Frozen):
    """The keeper's latest words on its cluster, for those who only look."""

    taken: AwareDatetime
    target: tuple[Count, Count]
    """The fewest and the most workers that are wanted."""
    asked: Count
    connected: Count
    pending: Count
    failed: Count
    idle_since: AwareDatetime | None
    ends: AwareDatetime | None
    headline: str
    kept: bool
    note: str = ""
    """What its owner should know soon: ``ends in 5m: idle; 2.1 GiB of persisted results go``."""


def as_bytes(model: BaseModel) -> bytes:
    return model.model_dump_json(indent=1).encode() + b"\n"


def parsed(content: bytes, folder: Path, name: str | None = None) -> Record:
    try:
        raw = from_json(content)
        if isinstance(raw, dict) and type(raw.get("format")) is int and raw["format"] > FORMAT:
            version = flat(str(raw.get("version", "")))[:40]
            raise Newer(f"{folder / RECORD} was written by clusterhub {version}, newer than this one: upgrade")
        record = Record.model_validate_json(content)
    except ValidationError as error:
        wrong = [f"{'.'.join(str(key) for key in each['loc'])}: {each['msg']}" for each in error.errors()]
        raise unreadable(folder, flat("; ".join(wrong[:3]))[:300]) from error
    except ValueError as error:
        raise unreadable(folder, f"it is not JSON, or only half of it ({error})") from error
    if record.name != (name or folder.name):
        raise unreadable(folder, f"it is about another cluster, {record.name}")
    return record


def unreadable(folder: Path, why: OSError | str) -> Unreadable:
    advice = f"look for what runs under this name, end it, then remove {folder}"
    if isinstance(why, OSError):
        named = {
            errno.ENOENT: "it is missing",
            errno.ENOTDIR: "its folder is a link or a file, and we make neither",
            errno.ELOOP: "it is a link, and we make none",
            errno.EISDIR: "it is a folder",
        }
        if why.errno not in named:  # nothing is wrong with the record itself, so nobody should remove it
            advice = "it may be whole: try again once it can be read"
        why = named.get(why.errno or 0, why.strerror or str(why))
    return Unreadable(f"cannot read {folder / RECORD}: {why}; {advice}")


def not_ours(name: str, uid: str) -> NotOurs:
    return NotOurs(f"{name} is another cluster by now ({uid[:8]}), whose record stays as it is")
