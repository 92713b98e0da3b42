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
import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from pydantic import ValidationError

from clusterhub.errors import ClusterhubError, ConfigError
from clusterhub.keeper.locks import holder_of, locked_file
from clusterhub.keeper.private import (
    ELSEWHERE,
    make_own,
    opened_own,
    read_in,
    removed_wholly,
    replace_in,
    writing,
)
from clusterhub.keeper.record import (
    RECORD,
    WAITING,
    End,
    NotOurs,
    NotThere,
    Record,
    Status,
    Taken,
    Unreadable,
    as_bytes,
    not_ours,
    parsed,
    unreadable,
)

KEPT_ENDED = 20
KEPT_FOR = timedelta(days=7)
"""How many of the clusters that ended are remembered at most, and for how long."""
_STATUS = "status.json"
LOGS = ("keeper.log", "keeper.log.1")
_NAME = re.compile(r"[a-z0-9-]{1,40}")
_GARBAGE_AGE = 3600.0
"""Seconds after which what a crash left is nobody's work in progress any more."""


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

    def own_folder(self) -> Path:
        """The folder of all clusters, made and closed to others where it is not. ClusterhubError where it cannot be."""
        return self._own("clusters")

    def names(self) -> list[str]:
        """The names in use, sorted, also those whose records cannot be read."""
        return [path.name for path in self._listed("clusters") if _NAME.fullmatch(path.name)]

    def read(self, name: str) -> Record:
        """The record of ``name``. Raises NotThere, Unreadable or Newer, and nothing else."""
        folder = self.folder(name)
        for _ in range(3):  # it may be freed, or replaced on another node, while it is read
            try:
                with opened_own(folder) as opened:
                    return parsed(read_in(opened, RECORD), folder)
            except OSError as error:
                failed = error
                if error.errno == errno.ENOENT and not folder.is_dir():
                    break
                if error.errno not in (errno.ENOENT, errno.ESTALE):
                    raise unreadable(folder, error) from error
        if folder.is_dir():
            raise unreadable(folder, failed) from failed
        raise NotThere(f"there is no cluster {name}; its record would be in {folder}")

    def status(self, name: str) -> Status | None:
        """The keeper's latest words; None where there are none that can be read."""
        try:
            with opened_own(self.folder(name)) as opened:
                return Status.model_validate_json(read_in(opened, _STATUS))
        except (OSError, ValidationError):
            return None

    def heartbeat_age(self, name: str) -> float | None:
        """Seconds since its keeper, or before there is one, whoever waits for its job, gave a sign of life; None without any."""
        age = self.age_of(name, _STATUS)
        return self.age_of(name, WAITING) if age is None else age

    def age_of(self, name: str, file: str) -> float | None:
        """Seconds since that file was written last, by the file system's own clock; None where that cannot be known.

        Neither a clock that is set nor one that differs between two nodes makes a living keeper look dead.
        """
        try:
            with opened_own(self.folder(name)) as opened:  # opened anew, since NFS looks again only then
                written = os.stat(file, dir_fd=opened, follow_symlinks=False).st_mtime
            return max(0.0, self._clock() - written)
        except OSError:
            return None

    def put(self, uid: str, name: str, file: str, content: bytes) -> None:
        """Write ``file`` into the folder of the cluster ``uid``, its owner's alone. Raises NotOurs as :meth:`write` does."""
        self._replace(uid, name, file, content)

    def look(self, uid: str, name: str, file: str) -> bytes | None:
        """What is in ``file`` of the cluster ``uid``, lives it or has it ended; None where it is not there."""
        for folder in (self.folder(name), self.root / "ended" / f"{name}-{uid[:8]}"):
            with suppress(OSError, Unreadable), opened_own(folder) as opened:
                if parsed(read_in(opened, RECORD), folder, name).uid == uid:
                    return read_in(opened, file)
        return None

    def drop(self, uid: str, name: str, file: str) -> None:
        """Remove ``file`` of the living cluster ``uid``, if it is there."""
        folder = self.folder(name)
        with writing(folder / file), suppress(FileNotFoundError, Unreadable), opened_own(folder) as opened:
            if parsed(read_in(opened, RECORD), folder).uid == uid:
                os.unlink(file, dir_fd=opened)

    @contextmanager
    def locked(self, name: str, timeout: float) -> Iterator[None]:
        """Be the only one, among all threads, processes and nodes, that starts or ends ``name``. Not reentrant.

        It is freed also when its holder is killed. Raises WaitTimeout, with who holds it, after ``timeout`` seconds.
        """
        self.folder(name)
        with locked_file(self._own("locks") / f"{name}.lock", timeout):
            yield

    def holder(self, name: str) -> str:
        """Who starts or ends ``name`` just now: ``process 71 on hal-login2``."""
        return holder_of(self._own("locks") / f"{name}.lock")

    def claim(self, record: Record) -> None:
        """Write the first record of a cluster, if its name is free; of all who try at once exactly one does.

        Raises Taken where a cluster has the name, and Unreadable where what has it cannot be told.
        """
        folder = self.folder(record.name)
        clusters = self._own("clusters")
        self._sweep()
        draft = clusters / f".claim-{uuid4().hex}"
        try:
            with writing(folder):
                make_own(draft)
                with opened_own(draft) as opened:
                    replace_in(opened, RECORD, as_bytes(record), durable=True)
                self._move_in(draft, folder, record)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def write(self, record: Record, *, uid: str | None = None) -> None:
        """Replace the record; on a crash, and on a full disk, the old or the new one is there.

        Raises NotOurs where the name is not, or no longer, that of the cluster ``uid`` (default: the record's).
        """
        self._replace(record.uid if uid is None else uid, record.name, RECORD, as_bytes(record))

    def write_status(self, uid: str, name: str, status: Status) -> None:
        """Replace the status of the cluster ``uid``, which is its heartbeat too. Raises NotOurs as :meth:`write` does."""
        self._replace(uid, name, _STATUS, as_bytes(status))

    def retire(self, record: Record, end: End, salvage: Collection[str] = LOGS) -> None:
        """Free the name, and remember how the cluster ended: its record, and the files named in ``salvage``, nothing else.

        The name is free, and every key gone, even where the end cannot be written down for a full disk, which is raised
        afterwards. Idempotent. Raises NotOurs where another cluster has the name. Where others may end the same cluster,
        hold :meth:`locked`.
        """
        memory = self._own("ended") / f"{record.name}-{record.uid[:8]}"
        kept = [Path(name).name for name in salvage] if self._has(record) else []
        try:
            with writing(memory):  # before it is freed: at no time is it neither in use nor remembered
                self._remember(memory, record.model_copy(update={"end": end}), kept)
        finally:
            self._free(record)
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
            raise Unreadable(f"cannot read {self.root / kind}: {error.strerror}; {ELSEWHERE}") from error

    def _own(self, kind: str) -> Path:
        """One of our folders, made and closed to others where it is not. ClusterhubError where that cannot be done."""
        with writing(self.root):
            make_own(self.root, follow=True)
            make_own(self.root / kind)
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
        with writing(folder / file):
            try:
                # All of it in one opened folder: whoever frees and claims the name meanwhile is not overwritten.
                with opened_own(folder) as opened:
                    there = parsed(read_in(opened, RECORD), folder)
                    if there.uid != uid:
                        raise not_ours(name, there.uid)
                    replace_in(opened, file, content, durable=file == RECORD)
            except FileNotFoundError as error:
                raise NotOurs(f"{name} is not written down any more; its record was in {folder}") from error

    def _has(self, record: Record) -> bool:
        """Whether the name is its. Raises NotOurs where it is another's."""
        try:
            there = self.read(record.name)
        except NotThere:
            return False
        if there.uid != record.uid:
            raise not_ours(record.name, there.uid)
        return True

    def _remember(self, memory: Path, record: Record, kept: Collection[str]) -> None:
        make_own(memory)
        with opened_own(memory) as opened:
            for path in (self.folder(record.name) / name for name in kept):
                if path.is_file() and not path.is_symlink():
                    path.replace(memory / path.name)
            if not (memory / RECORD).exists():
                replace_in(opened, RECORD, as_bytes(record), durable=True)

    def _free(self, record: Record) -> None:
        folder = self.folder(record.name)
        leaving = folder.with_name(f".ending-{record.name}-{record.uid}")
        try:
            with suppress(NotOurs), writing(folder), suppress(FileNotFoundError):  # somebody else ended it just now
                if self._has(record):
                    folder.rename(leaving)
        finally:
            removed_wholly(leaving)

    def _remembered(self) -> list[tuple[datetime, Path, Record | None]]:
        """What is in ``ended/``, the oldest first; without its record where that cannot be read."""
        found: list[tuple[datetime, Path, Record | None]] = []
        for path in self._listed("ended"):
            when, record = datetime.fromtimestamp(path.lstat().st_mtime, UTC), None
            with suppress(OSError, Unreadable), opened_own(path) as opened:
                record = parsed(read_in(opened, RECORD), path, path.name[:-9])
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
                    if path.is_dir():
                        shutil.rmtree(path, ignore_errors=True)
                    else:
                        path.unlink(missing_ok=True)  # of a keeper that nobody needed after all
            for path in (*locks.glob(".*"), *locks.glob("*.holder.*")):
                if path.lstat().st_ctime < old:
                    path.unlink(missing_ok=True)
            for path in locks.glob("*.lock"):
                if path.lstat().st_mtime < unused and not (clusters / path.stem).exists():
                    with suppress(ClusterhubError), locked_file(path, 0.0):
                        path.unlink(missing_ok=True)
