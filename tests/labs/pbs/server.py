"""The server, scheduler and execution hosts of the stand-in: one process without threads, whose children are the jobs."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from labs.pbs import processes, scheduler
from labs.pbs.answers import Answers
from labs.pbs.jobs import Job, Node, Queue, Run, home, used
from labs.pbs.submission import Asked, Refused, seconds_of, size_of

CONFIG: dict[str, Any] = {
    "server": "pbshost",
    "domain": "lab",
    "version": "23.06.06",
    "nodes": {
        "pbshost": {"ncpus": 16, "mem": "16gb"},
        "pbsn1": {"ncpus": 8, "mem": "8gb"},
        "pbsn2": {"ncpus": 8, "mem": "8gb"},
    },
    "queues": {
        "workq": {"resources_max": {"walltime": "01:00:00"}, "resources_default": {"walltime": "00:10:00"}},
        "short": {
            "resources_max": {"ncpus": "4", "walltime": "00:02:00"},
            "resources_default": {"walltime": "00:00:30"},
        },
        "stopped": {"started": False},
        "disabled": {"enabled": False},
    },
    "default_queue": "workq",
    "max_array_size": 10000,
    "max_run": None,
    "max_queued": None,
    "history": True,
    "scheduling": True,
    "refuse_root": False,
    "node_fail_requeue": 1.0,
    "next": 0,
    "slow_qdel": 1.0,
    "kill_delay": 10.0,
    "poll": 2.0,
}
"""As the recorded OpenPBS was set up, with shorter waits. ``config.json`` in the lab's folder says what differs."""
EXITING = 0.1
"""Seconds that a job is in state E."""
CYCLE = 0.02
"""Seconds from an event to the scheduler's look."""
STILL_THERE = 5.0
"""Seconds between two looks at whether the lab's folder is still there."""
BY_QDEL, BY_WALLTIME, BY_MEMORY, BY_NODE = 271, -29, -27, -4


class Server:
    """Everything of the stand-in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with contextlib.suppress(OSError):
            CONFIG.update(json.loads((folder / "config.json").read_text()))
        self.config = CONFIG
        self.name: str = CONFIG["server"]
        self.host = f"{self.name}.{CONFIG['domain']}"
        self.owner = getpass.getuser()
        self.nodes = [Node(name, of["ncpus"], size_of(of["mem"]) or 0) for name, of in CONFIG["nodes"].items()]
        self.queues = {name: Queue(name, **of) for name, of in CONFIG["queues"].items()}
        self.jobs: dict[int, Job] = {}
        self.number: int = CONFIG["next"] - 1
        self.lose: dict[str, str] = {}
        self.answers = Answers(self)
        self.born = time.time()
        self._cycle: asyncio.TimerHandle | None = None
        self._polling = False
        self._listener: asyncio.Server | None = None
        self._done = asyncio.Event()
        for sub in ("spool", "jobs", "undelivered"):
            (folder / sub).mkdir(exist_ok=True)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def run(self) -> None:
        """Serve until told to end, or until the lab's folder is gone; then end all jobs."""
        os.chdir(self.folder)  # the path of a socket is short by law
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, self._done.set)
        self.loop.add_signal_handler(signal.SIGCHLD, self._reap)
        control = await asyncio.start_unix_server(self._control, "control.sock", limit=2**26)
        await self.listen()
        while not self._done.is_set() and self.folder.exists():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._done.wait(), STILL_THERE)
        control.close()
        processes.send([run.process.pid for run in self.active() if run.process], signal.SIGKILL)

    async def listen(self) -> None:
        """Take commands."""
        self._listener = await asyncio.start_unix_server(self._serve, "server.sock", limit=2**26)

    def silence(self, seconds: float | None) -> None:
        """An outage: nobody is answered; jobs go on."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            with contextlib.suppress(OSError):
                Path("server.sock").unlink()
        if seconds is not None:
            self.loop.call_later(seconds, lambda: asyncio.ensure_future(self.listen()))

    # Answering

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, json.JSONDecodeError):
            asked = json.loads(await reader.readline())
            if (asked.get("server") or self.name).partition(".")[0] != self.name:
                answer: dict[str, Any] = {"want": "refused"}
            else:
                answer = self.answers.give(asked, None)
                if answer.get("want") == "stdin":
                    writer.write(json.dumps(answer).encode() + b"\n")
                    answer = self.answers.give(asked, json.loads(await reader.readline())["stdin"])
            lost = self.lose.pop(asked["command"], "")
            if lost == "hang":
                await reader.read()  # until the client has had enough
            elif not lost:
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        writer.close()

    async def _control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            try:
                said = self.answers.fault(json.loads(await reader.readline()))
            except (KeyError, ValueError, IndexError) as error:
                said = f"! {error!r}"
            writer.write(said.encode() + b"\n")
            await writer.drain()
        writer.close()

    # Jobs

    def active(self) -> list[Run]:
        """The runs that hold a place."""
        return [run for job in self.jobs.values() if not job.over for run in job.runs if run.state in "RE"]

    def submit(self, asked: Asked) -> Job:
        """A new job, or Refused."""
        queue = self._allowed(asked)
        for name, value in queue.resources_default.items():
            asked.resources.setdefault(name, value)
        self.number += 1
        job = Job(self.number, self.name, asked, queue, self.owner, self.host, time.time())
        job.held = "u" if asked.held else "s" if asked.depend else "n"
        self.jobs[job.number] = job
        if asked.begins is not None:
            self.loop.call_later(max(0.0, asked.begins - time.time()), self.soon)
        self.soon()
        return job

    def _allowed(self, asked: Asked) -> Queue:
        queue = self.queues.get(asked.queue or self.config["default_queue"])
        if queue is None:
            raise Refused(170, "qsub: Unknown queue\n")
        if not queue.enabled:
            raise Refused(173, "qsub: Queue is not enabled\n")
        if self.config["refuse_root"] and os.geteuid() == 0:
            raise Refused(175, "qsub: Bad UID for job execution\n")
        if queue.violated_by(asked):
            raise Refused(188, "qsub: Job violates queue and/or server resource limits\n")
        count = len(asked.indices) if asked.indices is not None else 1
        if count > self.config["max_array_size"]:
            raise Refused(3, "qsub: Array job exceeds server or queue size limit\n")
        living = sum(not run.over for job in self.jobs.values() for run in job.runs)
        if self.config["max_queued"] is not None and living + count > self.config["max_queued"]:
            raise Refused(38, "qsub: would exceed complex's per-user limit\n")
        return queue

    def soon(self) -> None:
        """Have the scheduler look, once for all that happens together."""
        if self._cycle is None:
            self._cycle = self.loop.call_later(CYCLE, self._schedule)

    def _schedule(self) -> None:
        self._cycle = None
        if not self.config["scheduling"]:
            return
        running = len(self.active())
        for job in list(self.jobs.values()):
            if job.over or job.state not in "QRB" or (job.state == "R"):
                continue
            for run in [run for run in job.runs if run.state == "Q"]:
                if job.has_its_share:
                    break
                place = self._place(job, running)
                if isinstance(place, str):
                    if not (job.is_array and job.began is not None) and job.comment != place:
                        job.comment, job.changed = place, time.time()
                    break
                self._start(run, place)
                running += 1

    def _place(self, job: Job, running: int) -> scheduler.Placement | str:
        if not job.queue.started:
            return "Not Running: Queue not started."
        if self.config["max_run"] is not None and running >= self.config["max_run"]:
            return "Not Running: User has reached server running job limit."
        return scheduler.place(job, self.nodes)

    def _start(self, run: Run, place: scheduler.Placement) -> None:
        job, now = run.job, time.time()
        for node, chunk in place:
            slot = next(number for number in range(10**6) if number not in node.slots)
            node.slots[slot] = (chunk.ncpus, chunk.mem)
            run.places.append((node, slot, chunk))
        where, when = scheduler.exec_vnode(run.places), time.strftime("%a %b %e at %H:%M", time.localtime(now))
        if job.is_array and job.began is None:
            job.began, job.comment, job.changed = now, f"Job Array Began at {when}", now
        run.state, run.substate, run.count, run.started = "R", 41, run.count + 1, now
        run.comment = f"Job run at {when} on {where}"
        run.verdict, run.exit, run.files = None, None, []
        if not job.is_array:
            job.changed = now
        run.own = {
            "exec_host": scheduler.exec_host(run.places),
            "exec_vnode": where,
            "stime": time.ctime(now),
            "mtime": time.ctime(now),
        }
        try:
            run.process = self._launch(run)
        except OSError as error:
            run.error = str(error)
            self.loop.call_soon(self._exited, run, 254)
            return
        with (self.folder / "sessions").open("a") as file:
            print(run.process.pid, processes.born(run.process.pid), file=file)
        if walltime := seconds_of(job.asked.resources.get("walltime", "")):
            self.loop.call_later(walltime + 0.5, self._outlived, run, run.count, walltime)
        if not self._polling:
            self._polling = True
            self.loop.call_later(self.config["poll"], self._poll)

    # Processes

    def _launch(self, run: Run) -> subprocess.Popen[bytes]:
        job, asked = run.job, run.job.asked
        index = "" if run.index is None else str(run.index)
        script = self.folder / "jobs" / f"{run.id}.SC"
        script.write_bytes(asked.script.encode("utf-8", "surrogateescape"))
        script.chmod(0o700)
        scratch = self.folder / "spool" / f"pbs.{run.id}"
        scratch.mkdir(exist_ok=True, mode=0o700)
        nodefile = self.folder / "jobs" / f"{run.id}.nodes"
        nodefile.write_text("".join(f"{node.name}.{self.config['domain']}\n" for node, _, _ in run.places))
        theirs = pwd.getpwuid(os.getuid())
        environment = {
            "HOME": home(asked), "LOGNAME": theirs.pw_name, "USER": theirs.pw_name, "SHELL": asked.shell or "/bin/bash",
            "PATH": "/usr/local/bin:/usr/bin:/bin", "TMPDIR": str(scratch), "TZ": os.environ.get("TZ", ""),
            "PBS_ENVIRONMENT": "PBS_BATCH", "PBS_JOBID": run.id, "PBS_JOBNAME": asked.name, "PBS_QUEUE": job.queue.name,
            "PBS_JOBDIR": home(asked), "PBS_NODEFILE": str(nodefile), "PBS_NODENUM": "0", "PBS_TASKNUM": "1",
            "NCPUS": str(run.places[0][2].ncpus), "OMP_NUM_THREADS": str(run.places[0][2].ncpus),
        } | job.variables()  # fmt: skip
        if not environment["TZ"]:
            del environment["TZ"]
        if job.is_array:
            environment |= {"PBS_ARRAY_INDEX": index, "PBS_ARRAY_ID": job.id}
        run.stdout, out = self._open(run, "o", index)
        run.stderr, err = (run.stdout, out) if asked.join == "oe" else self._open(run, "e", index)
        try:
            return subprocess.Popen(
                self._argv(asked, script),
                cwd=home(asked),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        finally:
            for descriptor in {out, err}:
                os.close(descriptor)

    def _argv(self, asked: Asked, script: Path) -> list[str]:
        """The user's shell runs the script by its first line, and says 127 where that names nothing."""
        shell = asked.shell or "/bin/bash"
        first = re.match(r"#!\s*(\S+)", asked.script)
        if asked.shell is None and first and not Path(first[1]).exists():
            said = f"-bash: {script}: {first[1]}: bad interpreter: No such file or directory"
            return [shell, "-c", f"echo '{said}' >&2; exit 127"]
        return [str(script)] if first and asked.shell is None else [shell, str(script)]

    def _open(self, run: Run, kind: str, index: str) -> tuple[str, int]:
        """The file that the job writes to: its last place at once where it was asked to keep it there, else the spool."""
        name = f"{run.id}.{'OU' if kind == 'o' else 'ER'}"
        target = run.job.path(kind, index).replace("^array_index^", index)
        if target.endswith("/") or Path(target).is_dir():
            target = str(Path(target) / name)
        spool = str(self.folder / "spool" / name)
        paths = [target, spool] if kind in run.job.asked.keep else [spool]
        for path in paths:
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                if path == spool:
                    run.files.append((spool, target))
                return path, descriptor
        raise OSError(f"cannot write {spool}")

    def _poll(self) -> None:
        """See what jobs use: the only thing that is looked at again and again, and only while some run."""
        runs = {run.process.pid: run for run in self.active() if run.process is not None}
        self._polling = bool(runs)
        if not runs:
            return
        self.loop.call_later(self.config["poll"], self._poll)
        now = time.time()
        for session, use in processes.use(runs).items():
            run = runs[session]
            run.own |= used(now - run.started, use.cpu, use.rss, use.virtual, run.job.asked.ncpus)
            run.own["session_id"] = str(session)
            run.substate = max(run.substate, 42)
            limit = run.job.asked.mem
            if limit and use.rss > limit and run.verdict is None:
                words = f"mem {use.rss // 1024}kb exceeded limit {limit // 1024}kb"
                self._kill(run, BY_MEMORY, words)

    def _outlived(self, run: Run, count: int, walltime: int) -> None:
        if run.state == "R" and run.count == count and run.verdict is None:
            self._kill(run, BY_WALLTIME, f"walltime {walltime + 1} exceeded limit {walltime}")

    def _kill(self, run: Run, verdict: int, words: str) -> None:
        with contextlib.suppress(OSError), Path(run.stderr).open("a") as file:
            file.write(f"=>> PBS: job killed: {words}\n")
        self.end([run], verdict)

    def end(self, runs: Iterable[Run], verdict: int) -> None:
        """End running jobs: softly, and by force after a while."""
        told = [run for run in runs if run.process is not None and run.verdict is None]
        for run in told:
            run.verdict, run.told = verdict, time.time()
        ending = [run.process for run in told if run.process is not None]
        processes.send([each.pid for each in ending], signal.SIGKILL if verdict == BY_NODE else signal.SIGTERM)
        self.loop.call_later(self.config["kill_delay"], self._force, ending)

    def _force(self, ending: list[subprocess.Popen[bytes]]) -> None:
        """Of these processes and not of their runs, which may have been started again by now."""
        processes.send([each.pid for each in ending if each.poll() is None], signal.SIGKILL)

    def _reap(self) -> None:
        ended = [run for run in self.active() if run.process is not None and run.process.poll() is not None]
        sessions = [run.process.pid for run in ended if run.process is not None]
        processes.send(sessions, signal.SIGKILL)  # what they left behind
        for run in ended:
            assert run.process is not None
            code = run.process.returncode
            run.process = None
            self._exited(run, 128 - code if code < 0 else code)

    def _exited(self, run: Run, code: int) -> None:
        if run.verdict == BY_NODE:
            wait = self.config["node_fail_requeue"]
            if wait:
                self.loop.call_later(wait, self._requeue, run)
            return  # and else it is shown as running until its node is back
        wait = EXITING
        if run.verdict == BY_QDEL:  # PBS holds these for a while, in R and then in E
            wait = max(EXITING, run.told + self.config["slow_qdel"] - time.time())
        exiting = wait / 2 if run.verdict == BY_QDEL else 0
        self.loop.call_later(exiting, self._exiting, run)
        self.loop.call_later(wait, self._finish, run, code if run.verdict is None else run.verdict)

    def _exiting(self, run: Run) -> None:
        run.state, run.substate = "E", 51

    def _requeue(self, run: Run) -> None:
        if run.state != "R" or run.verdict != BY_NODE:
            return
        if not run.job.asked.rerunnable:
            self._finish(run, BY_NODE)
            return
        self._release(run)
        run.state, run.substate, run.own, run.verdict, run.comment = "Q", 10, {}, None, None
        run.job.changed = time.time()
        self.soon()

    def _release(self, run: Run) -> None:
        for node, slot, _ in run.places:
            node.slots.pop(slot, None)
        run.places = []

    # Ends

    def _finish(self, run: Run, status: int) -> None:
        if run.over:
            return
        job, now = run.job, time.time()
        run.exit, run.finished = status, now
        run.state = "X" if job.is_array else "F"
        delivered = self._deliver(run)
        self._release(run)
        shutil.rmtree(self.folder / "spool" / f"pbs.{run.id}", ignore_errors=True)
        run.substate = 91 if status == BY_QDEL else 93 if status else 92
        endings = {
            BY_QDEL: f"terminated by {job.owner}@{job.host}",
            BY_WALLTIME: "exceeded resource walltime",
            BY_MEMORY: "exceeded resource mem",
        }
        run.comment = f"{run.comment} and {endings.get(status, 'failed' if status else 'finished')}"
        none = used(now - run.started, 0.0, 0, 0, job.asked.ncpus)
        run.own = none | run.own | {
            "resources_used.walltime": none["resources_used.walltime"],
            "obittime": time.ctime(now),
            "mtime": time.ctime(now),
            "jobdir": home(job.asked),
            "Stageout_status": str(int(delivered)),
            "Exit_status": str(status),
            "history_timestamp": str(int(now)),
        }  # fmt: skip
        self.close(job)

    def _deliver(self, run: Run) -> bool:
        delivered = True
        for source, target in run.files:
            try:
                shutil.copyfile(source, target)
                Path(target).chmod(0o600)
                Path(source).unlink()
            except OSError:
                delivered = False
                shutil.move(source, self.folder / "undelivered" / Path(source).name)
        return delivered

    def discard(self, run: Run) -> None:
        """End one that has not run."""
        now = time.time()
        run.state, run.verdict, run.finished, run.substate = "X" if run.job.is_array else "F", BY_QDEL, now, 91
        if run.job.is_array:
            run.comment = "Subjob finished"
            if run.count == 0:
                return
        elif not run.ran:
            run.comment = f"{run.job.comment} and terminated" if run.job.comment else None
        run.own |= {"history_timestamp": str(int(now)), "mtime": time.ctime(now)}

    def close(self, job: Job) -> None:
        """If all of it is over, so is the job."""
        if all(run.over for run in job.runs) and not job.over:
            job.finished = job.changed = time.time()
            for run in job.runs:
                run.state = "F"
            if job.is_array and job.comment:
                job.comment += " and failed" if any(run.exit for run in job.runs) else " and finished"
            if not self.config["history"]:
                del self.jobs[job.number]
        self.soon()

    def states(self, queue: Queue | None = None) -> Counter[str]:
        """How many jobs are in which state."""
        return Counter(job.state for job in self.jobs.values() if not job.over and queue in (None, job.queue))


def main() -> None:
    """Serve in the folder that is named."""
    asyncio.run(Server(Path(sys.argv[1]).resolve()).run())


if __name__ == "__main__":
    main()
