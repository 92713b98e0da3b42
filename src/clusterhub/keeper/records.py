"""Where living clusters are written down, for every process and every node that shares this home.

::

    ~/.local/state/clusterhub/          or $XDG_STATE_HOME/clusterhub, or $CLUSTERHUB_STATE
        clusters/<name>/                one living cluster: record.json, status.json, keeper.log, its keys
        ended/<name>-<uid>/             the last ones that ended: record.json and keeper.log, never a key
        locks/<name>.lock               whoever starts or ends the cluster of that name holds it

Everything is its owner's alone. What has to happen once only (to claim a name, to free it, to replace a file) is one rename,
which is atomic on NFS too: a reader sees the old or the new, and what a crash leaves behind is never half of either.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal
from uuid import uuid4

from pydantic import AwareDatetime, BaseModel, Field, JsonValue, ValidationError
from pydantic_core import from_json

from clusterhub.display.words import age, flat
from clusterhub.errors import ClusterhubError, ConfigError, WaitTimeout
from clusterhub.keeper.identity import Life, Process
from clusterhub.spec import Frozen

FORMAT = 1
"""The version of what is written. It rises whenever a field comes or goes, so that an older reader knows what it met."""
BEAT = 15.0
"""Seconds after which a keeper writes its status again even if nothing has changed."""
KEPT_ENDED = 20
KEPT_FOR = timedelta(days=7)
"""How many of the clusters that ended are remembered at most, and for how long."""
_RECORD, _STATUS = "record.json", "status.json"
_LOGS = ("keeper.log", "keeper.log.1")
_NAME = re.compile(r"[a-z0-9-]{1,40}")
_GARBAGE_AGE = 3600.0
"""Seconds after which what a crash left is nobody's work in progress any more."""
_ELSEWHERE = "set CLUSTERHUB_STATE to a folder of your own that all your nodes see"

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


class Record(Frozen):
    """What is known of a cluster wherever its keeper runs; holds no secret."""

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
    """What its backend needs to find it again."""
    version: str
    """Of the clusterhub that wrote this."""
    python: str
    end: End | None = None


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


@dataclass(frozen=True, slots=True)
class Store:
    """The records below one folder. Every method may be called from any thread, process and node at any time."""

    root: Path

    @classmethod
    def here(cls) -> Store:
        """The store that the environment names. ConfigError where that is no absolute path."""
        if chosen := os.environ.get("CLUSTERHUB_STATE", ""):
            root = Path(chosen).expanduser()
            if not root.is_absolute():
                # A keeper has another working directory, and would look for it elsewhere.
                raise ConfigError.of(f"{chosen!r} is a relative path; write all of it", path="CLUSTERHUB_STATE")
            return cls(root)
        state = Path(os.environ.get("XDG_STATE_HOME", ""))
        if not state.is_absolute():  # unset, or to be ignored: XDG Base Directory Specification
            state = Path("~/.local/state").expanduser()
        return cls(state / "clusterhub")

    def folder(self, name: str) -> Path:
        """Where the cluster ``name`` lives, or would. ConfigError for what no cluster can be called."""
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigError.of(f"{str(name)[:60]!r} is no name for a cluster; use 1 to 40 of a-z, 0-9 and -")
        return self.root / "clusters" / name

    def names(self) -> list[str]:
        """The names in use, sorted, also those whose records cannot be read."""
        return [path.name for path in self._listed("clusters") if _NAME.fullmatch(path.name)]

    def read(self, name: str) -> Record:
        """The record of ``name``. Raises NotThere, Unreadable or Newer, and nothing else."""
        folder = self.folder(name)
        for _ in range(3):  # it may be freed, or replaced on another node, while it is read
            try:
                with _opened(folder) as opened:
                    return _parsed(_read_in(opened, _RECORD), folder)
            except OSError as error:
                failed = error
                if error.errno == errno.ENOENT and not folder.is_dir():
                    break
                if error.errno not in (errno.ENOENT, errno.ESTALE):
                    raise _unreadable(folder, error) from error
        if folder.is_dir():
            raise _unreadable(folder, failed) from failed
        raise NotThere(f"there is no cluster {name}; its record would be in {folder}")

    def status(self, name: str) -> Status | None:
        """The keeper's latest words; None where there are none that can be read."""
        try:
            with _opened(self.folder(name)) as opened:
                return Status.model_validate_json(_read_in(opened, _STATUS))
        except (OSError, ValidationError):
            return None

    def heartbeat_age(self, name: str) -> float | None:
        """Seconds since the status was written last, by the file system's own clock; None where that cannot be known.

        Neither a clock that is set nor one that differs between two nodes makes a living keeper look dead.
        """
        try:
            written = (self.folder(name) / _STATUS).lstat().st_mtime
            return max(0.0, self._clock() - written)
        except OSError:
            return None

    @contextmanager
    def locked(self, name: str, timeout: float) -> Iterator[None]:
        """Be the only one, among all threads, processes and nodes, that starts or ends ``name``. Not reentrant.

        It is freed also when its holder is killed. Raises WaitTimeout, with who holds it, after ``timeout`` seconds.
        """
        self.folder(name)
        with _locked(self._own("locks") / f"{name}.lock", timeout):
            yield

    def claim(self, record: Record) -> None:
        """Write the first record of a cluster, if its name is free; of all who try at once exactly one does.

        Raises Taken where a cluster has the name, and Unreadable where what has it cannot be told.
        """
        folder = self.folder(record.name)
        clusters = self._own("clusters")
        self._sweep()
        draft = clusters / f".claim-{uuid4().hex}"
        try:
            with _writing(folder):
                _make_own(draft)
                with _opened(draft) as opened:
                    _replace_in(opened, _RECORD, _bytes(record), durable=True)
                self._move_in(draft, folder, record)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def write(self, record: Record, *, uid: str | None = None) -> None:
        """Replace the record; on a crash, and on a full disk, the old or the new one is there.

        Raises NotOurs where the name is not, or no longer, that of the cluster ``uid`` (default: the record's).
        """
        self._replace(record.uid if uid is None else uid, record.name, _RECORD, _bytes(record))

    def write_status(self, uid: str, name: str, status: Status) -> None:
        """Replace the status of the cluster ``uid``, which is its heartbeat too. Raises NotOurs as :meth:`write` does."""
        self._replace(uid, name, _STATUS, _bytes(status))

    def retire(self, record: Record, end: End, salvage: Collection[str] = _LOGS) -> None:
        """Free the name, and remember how the cluster ended: its record, and the files named in ``salvage``, nothing else.

        The name is free, and every key gone, even where the end cannot be written down for a full disk, which is raised
        afterwards. Idempotent. Raises NotOurs where another cluster has the name. Where others may end the same cluster,
        hold :meth:`locked`.
        """
        folder, ended = self.folder(record.name), self._own("ended")
        leaving = folder.with_name(f".ending-{record.name}-{record.uid}")
        with suppress(NotThere):
            if (there := self.read(record.name)).uid != record.uid:
                raise _not_ours(record.name, there.uid)
            with _writing(folder), suppress(FileNotFoundError):  # somebody else ended it just now
                folder.rename(leaving)
        memory = ended / f"{record.name}-{record.uid[:8]}"
        try:
            with _writing(memory):
                self._remember(leaving, memory, record.model_copy(update={"end": end}), salvage)
        finally:
            _remove(leaving)
        self._prune(end.when)
        self._sweep()

    def ended(self, name: str | None = None) -> list[Record]:
        """The clusters that ended and are remembered, all or those called ``name``, the newest first."""
        found = [record for _, _, record in self._remembered() if record is not None]
        return [record for record in reversed(found) if name is None or record.name == name]

    # What the above is made of

    def _listed(self, kind: str) -> list[Path]:
        try:
            return sorted(path for path in (self.root / kind).iterdir() if path.is_dir() or path.is_symlink())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Unreadable(f"cannot read {self.root / kind}: {error.strerror}; {_ELSEWHERE}") from error

    def _own(self, kind: str) -> Path:
        """One of our folders, made and closed to others where it is not. ClusterhubError where that cannot be done."""
        with _writing(self.root):
            _make_own(self.root, follow=True)
            _make_own(self.root / kind)
        return self.root / kind

    def _clock(self) -> float:
        """The time now as this file system writes it, which need not be what we would call now."""
        probe = self.root / f".clock-{uuid4().hex}"
        fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.utime(fd)
            return os.fstat(fd).st_mtime
        finally:
            os.close(fd)
            probe.unlink(missing_ok=True)

    def _move_in(self, draft: Path, folder: Path, record: Record) -> None:
        for _ in range(5):
            try:
                draft.rename(folder)  # onto an empty folder too, which is nobody's
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                    raise
                missing = error
            with suppress(NotThere):  # freed in between: try again
                there = self.read(record.name)
                # ENOENT for a rename that was done: NFS sends it again when the answer was lost.
                if missing.errno == errno.ENOENT and there.uid == record.uid:
                    return
                raise Taken(there)
        raise missing

    def _replace(self, uid: str, name: str, file: str, content: bytes) -> None:
        folder = self.folder(name)
        with _writing(folder / file):
            try:
                # All of it in one opened folder: whoever frees and claims the name meanwhile is not overwritten.
                with _opened(folder) as opened:
                    there = _parsed(_read_in(opened, _RECORD), folder)
                    if there.uid != uid:
                        raise _not_ours(name, there.uid)
                    _replace_in(opened, file, content, durable=file == _RECORD)
            except FileNotFoundError as error:
                raise NotOurs(f"{name} is not written down any more; its record was in {folder}") from error

    def _remember(self, leaving: Path, memory: Path, record: Record, salvage: Collection[str]) -> None:
        _make_own(memory)
        with _opened(memory) as opened:
            for name in salvage:
                path = leaving / Path(name).name
                if path.is_file() and not path.is_symlink():
                    path.replace(memory / path.name)
            if not (memory / _RECORD).exists():
                _replace_in(opened, _RECORD, _bytes(record), durable=True)

    def _remembered(self) -> list[tuple[datetime, Path, Record | None]]:
        """What is in ``ended/``, the oldest first; without its record where that cannot be read."""
        found: list[tuple[datetime, Path, Record | None]] = []
        for path in self._listed("ended"):
            when, record = datetime.fromtimestamp(path.lstat().st_mtime, UTC), None
            with suppress(OSError, Unreadable), _opened(path) as opened:
                record = _parsed(_read_in(opened, _RECORD), path, path.name[:-9])
                when = record.end.when if record.end else record.created
            found.append((when, path, record))
        return sorted(found, key=lambda each: each[:2])

    def _prune(self, now: datetime) -> None:
        remembered = self._remembered()
        for number, (when, path, _) in enumerate(reversed(remembered)):
            if (number >= KEPT_ENDED or now - when > KEPT_FOR) and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what crashes left: drafts, folders that were being removed, and locks of names long out of use."""
        clusters, locks = self.root / "clusters", self.root / "locks"
        with suppress(OSError):
            old, unused = (self._clock() - limit for limit in (_GARBAGE_AGE, KEPT_FOR.total_seconds()))
            for path in clusters.glob(".*"):
                if path.lstat().st_ctime < old and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
            for path in (*locks.glob(".*"), *locks.glob("*.holder.*")):
                if path.lstat().st_ctime < old:
                    path.unlink(missing_ok=True)
            for path in locks.glob("*.lock"):
                if path.lstat().st_mtime < unused and not (clusters / path.stem).exists():
                    with suppress(ClusterhubError), _locked(path, 0.0):
                        path.unlink(missing_ok=True)


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


def standing(record: Record, store: Store) -> Standing:
    """How the cluster of ``record`` fares: by the life of its keeper, and where that cannot be seen, by its heartbeat."""
    who, beat = record.keeper or record.creator, store.heartbeat_age(record.name)
    life = who.life()
    if life is Life.DEAD and who.boot != Process.this().boot and _fresh(beat):
        life = Life.UNKNOWN  # the dead write nothing: this is not its host, but one with the same name and machine id
    return judged(record, life, beat)


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
        return Standing(Condition.LIVING, f"heard of {_span(beat)} ago from {who.host}")
    return Standing(Condition.UNKNOWN, f"{heard}; it lives or lived on {who.host}, ask there")


def _fresh(beat: float | None) -> bool:
    return beat is not None and beat < 3 * BEAT


def _span(seconds: float) -> str:
    epoch = datetime.fromtimestamp(0, UTC)
    return age(epoch, epoch + timedelta(seconds=seconds))


# What is written, and what is said where it cannot be read


def _bytes(model: BaseModel) -> bytes:
    return model.model_dump_json(indent=1).encode() + b"\n"


def _parsed(content: bytes, folder: Path, name: str | None = None) -> Record:
    try:
        raw = from_json(content)
        if isinstance(raw, dict) and type(raw.get("format")) is int and raw["format"] > FORMAT:
            version = flat(str(raw.get("version", "")))[:40]
            raise Newer(f"{folder / _RECORD} was written by clusterhub {version}, newer than this one: upgrade")
        record = Record.model_validate_json(content)
    except ValidationError as error:
        wrong = [f"{'.'.join(str(key) for key in each['loc'])}: {each['msg']}" for each in error.errors()]
        raise _unreadable(folder, flat("; ".join(wrong[:3]))[:300]) from error
    except ValueError as error:
        raise _unreadable(folder, f"it is not JSON, or only half of it ({error})") from error
    if record.name != (name or folder.name):
        raise _unreadable(folder, f"it is about another cluster, {record.name}")
    return record


def _unreadable(folder: Path, why: OSError | str) -> Unreadable:
    if isinstance(why, OSError):
        named = {errno.ENOENT: "it is missing", errno.ENOTDIR: "its folder is a link or a file, and we make neither"}
        why = named.get(why.errno or 0, why.strerror or str(why))
    return Unreadable(
        f"cannot read {folder / _RECORD}: {why}; look for what runs under this name, end it, then remove {folder}"
    )


def _not_ours(name: str, uid: str) -> NotOurs:
    return NotOurs(f"{name} is another cluster by now ({uid[:8]}), whose record stays as it is")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """What goes wrong in it becomes one clear message."""
    try:
        yield
    except ClusterhubError:  # a WaitTimeout is an OSError too
        raise
    except OSError as error:
        raise ClusterhubError(
            f"cannot write {path}: {error.strerror or error}; what clusters live is written down there; {_ELSEWHERE}"
        ) from error


# Folders and files that are nobody else's


def _make_own(folder: Path, *, follow: bool = False) -> None:
    """Make ``folder`` where it is missing, and close it to others. OSError where it is a symlink (unless ``follow``)."""
    missing = [path for path in (folder, *folder.parents) if not path.is_symlink() and not path.exists()]
    for path in reversed(missing):
        with suppress(FileExistsError):  # somebody else was quicker
            path.mkdir(mode=0o700)
            path.chmod(0o700)  # a umask may take more than we would
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | (0 if follow else os.O_NOFOLLOW))
    try:
        _close_to_others(fd, 0o700)
    finally:
        os.close(fd)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """``folder``, opened, and closed to others: what is done below it is done there even if it is renamed meanwhile."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _close_to_others(fd, 0o700)
        yield fd
    finally:
        os.close(fd)


def _close_to_others(fd: int, mode: int) -> None:
    found = os.fstat(fd)
    if found.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it belongs to somebody else")
    if found.st_mode & stat.S_ISVTX:
        raise PermissionError(errno.EPERM, "it is a folder for everybody")  # /tmp must not become ours alone
    if stat.S_IMODE(found.st_mode) & 0o777 != mode:
        os.fchmod(fd, mode)
        if stat.S_IMODE(os.fstat(fd).st_mode) & 0o777 != mode:  # some file systems only pretend
            raise PermissionError(errno.EPERM, "it is open to others, and its file system cannot close it")


def _read_in(folder: int, name: str) -> bytes:
    # Not blocking: what lies there might be a pipe.
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    with os.fdopen(fd, "rb") as file:
        return file.read()


def _replace_in(folder: int, name: str, content: bytes, *, durable: bool) -> None:
    """Put ``content`` in the place of ``name`` in one step; nothing else is left there, whatever goes wrong."""
    draft = f".{name}.{uuid4().hex}"
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
        try:
            _close_to_others(fd, 0o600)
            _write_all(fd, content)
            os.utime(fd)  # by the file system's clock: NFS clients may stamp what they write with their own
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)  # NFS tells only here that the disk is full
        os.replace(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft, dir_fd=folder)
        raise


def _write_all(fd: int, content: bytes) -> None:
    while content:
        content = content[os.write(fd, content) :]


def _remove(folder: Path) -> None:
    """Remove ``folder`` with all that is in it, following no link. What NFS keeps for those who have it open may stay."""
    shutil.rmtree(folder, ignore_errors=True)
    left = [path for path in folder.rglob("*") if not path.name.startswith(".nfs")] if folder.exists() else []
    if left:
        raise ClusterhubError(f"cannot remove {left[0]}, which may be a key; remove {folder}")


# Locks

_NO_FLOCK = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_MUTEXES: dict[str, threading.Lock] = {}
os.register_at_fork(after_in_child=_MUTEXES.clear)  # the threads that hold them are not in the child


class _Holder(Frozen):
    """Who holds a lock; ``token`` tells this time from every other."""

    token: str
    process: Process


@contextmanager
def _locked(path: Path, timeout: float) -> Iterator[None]:
    deadline = time.monotonic() + timeout
    # NFS emulates flock by byte-range locks, which are a process's: they do not keep its threads apart.
    mutex = _MUTEXES.setdefault(str(path), threading.Lock())
    if not mutex.acquire(timeout=max(0.0, timeout)):
        raise _is_held(path, timeout)
    try:
        with _writing(path):
            while (release := _try_flock(path)) is None:
                if time.monotonic() >= deadline:
                    raise _is_held(path, timeout)
                time.sleep(0.05)
        try:
            yield
        finally:
            with suppress(OSError):
                release()
    finally:
        mutex.release()


def _is_held(path: Path, timeout: float) -> WaitTimeout:
    fallback = path.with_suffix(".holder")
    holder = _holder(fallback) or _holder(path)
    who = str(holder.process) if holder else "another process"
    advice = f"; if it is gone, remove {fallback}" if fallback.exists() else ""
    return WaitTimeout(f"{path.stem} is being started or ended by {who}, for longer than {timeout:g} s{advice}")


def _holder(path: Path) -> _Holder | None:
    try:
        return _Holder.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _try_flock(path: Path) -> Callable[[], None] | None:
    """Lock ``path``, which the kernel frees however its holder ends; returns what frees it, or None where it is held."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        _close_to_others(fd, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not path.exists() or not os.path.samestat(os.fstat(fd), path.stat()):
            raise BlockingIOError  # it was swept away before it was locked: another file has its place, or will
        with suppress(OSError):  # on a full disk nobody learns who holds it, and it holds all the same
            os.ftruncate(fd, 0)
            _write_all(fd, _bytes(_Holder(token=uuid4().hex, process=Process.this())))
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError as error:
        os.close(fd)
        if error.errno in _NO_FLOCK:
            return _try_link(path.with_suffix(".holder"))
        raise
    owner = os.getpid()

    def release() -> None:
        try:
            if os.getpid() == owner:  # a forked child shares the lock, and must not free it for its parent
                with suppress(OSError):
                    os.ftruncate(fd, 0)
                fcntl.flock(fd, fcntl.LOCK_UN)
        finally:
            os.close(fd)

    return release


def _try_link(path: Path) -> Callable[[], None] | None:
    """The same where there are no locks: a link is made once only, also on NFS. That of a dead process is broken."""
    mine = _Holder(token=uuid4().hex, process=Process.this())
    with _opened(path.parent) as folder:
        _replace_in(folder, f".{mine.token}", _bytes(mine), durable=True)
    draft = path.with_name(f".{mine.token}")
    try:
        with suppress(FileExistsError):
            path.hardlink_to(draft)
        won = draft.stat().st_nlink == 2  # the answer may have been lost, and the second try refused
    finally:
        draft.unlink(missing_ok=True)
    if won:
        return lambda: path.unlink() if _holder(path) == mine else None
    there = _holder(path)
    if there is not None and there.process.life() is Life.DEAD:
        _break(path, there)
    return None


def _break(path: Path, stale: _Holder) -> None:
    """Remove the lock that ``stale`` left, and never the one that somebody took after it."""
    right = path.with_name(f"{path.name}.{stale.token}")
    try:
        os.close(os.open(right, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    # Only who has this right removes that lock, so what is seen now cannot change before it is removed.
    try:
        if _holder(path) == stale:
            path.unlink()
    finally:
        right.unlink()
