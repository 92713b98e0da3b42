"""What each command answers: standard output, standard error and exit code, as recorded."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from labs.pbs import show, submission
from labs.pbs.jobs import Job, Node, Run, queue_attributes, state_count
from labs.pbs.submission import Refused

if TYPE_CHECKING:
    from labs.pbs.server import Server

Answer = dict[str, Any]
Shown = list[tuple[str, Mapping[str, str]]]

IDENTIFIER = re.compile(r"(\d+)(\[(\d*)\])?(?:\.(\S+))?", re.ASCII)
RANGE = re.compile(r"(\d+)\[(\d+)-(\d+)(?::(\d+))?\](?:\.(\S+))?", re.ASCII)
FINISHED, UNKNOWN, INVALID, UNKNOWN_QUEUE, NO_MEMBER = 35, 153, 156, 170, 49


def answer(stdout: str = "", stderr: str = "", code: int = 0) -> Answer:
    return {"stdout": stdout, "stderr": stderr, "code": code}


class Answers:
    """The commands, as the server runs them."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def give(self, asked: Mapping[str, Any], stdin: str | None) -> Answer:
        """The answer to one command; of qsub perhaps that it wants its standard input."""
        argv = asked["argv"]
        if argv == ["--version"]:
            return answer(f"pbs_version = {self.server.config['version']}\n")
        if asked["command"] == "qsub":
            return self.qsub(argv, asked, stdin)
        if asked["command"] == "qalter":
            return self.qalter(argv)
        if asked["command"] == "pbsnodes":
            return answer(show.nodes((node.name, self._node(node)) for node in self.server.nodes))
        return self.qstat(argv) if asked["command"] == "qstat" else self.qdel(argv)

    def qsub(self, argv: Sequence[str], asked: Mapping[str, Any], stdin: str | None) -> Answer:
        try:
            found = submission.asked(argv, asked["cwd"], asked["environment"], stdin)
            return {"want": "stdin"} if found is None else answer(f"{self.server.submit(found).id}\n")
        except Refused as refused:
            return answer("", refused.words, refused.code)

    # qstat

    def qstat(self, argv: Sequence[str]) -> Answer:
        flags, user, operands = _options(argv)
        if flags & set("Q"):
            return self._queues(operands)
        if "B" in flags:
            return answer(show.server(self.server.name, self._server()))
        if "f" in flags and flags & set("auq"):
            return answer("", "qstat: conflicting options.\n", 2)
        if "x" in flags and not self.server.config["history"]:
            said = "".join(
                f"qstat: PBS is not configured to maintain job history {self._whole(id_)}\n" for id_ in operands
            )
            return answer("", said or "qstat: PBS is not configured to maintain job history \n")
        jobs: Shown = []
        stderr, code = "", 0
        for operand in operands:
            try:
                jobs += self._named(operand, flags)
            except Refused as refused:
                stderr, code = stderr + refused.words, refused.code
        if not operands:
            jobs = self._everything(flags, user)
        if "f" in flags:
            shown = "".join(show.full(id_, job, wide="w" in flags) for id_, job in jobs)
        elif flags & set("aus"):
            shown = show.alternative(self.server.name, jobs, wide="w" in flags, comments="s" in flags)
        else:
            shown = show.table(jobs)
        return answer(shown, stderr, code)

    def _queues(self, names: Sequence[str]) -> Answer:
        known = self.server.queues
        unknown = "".join(f"qstat: Unknown queue {name}\n" for name in names if name not in known)
        asked = [known[name] for name in names or known if name in known]
        shown = show.queues((queue.name, queue_attributes(queue, self.server.states(queue))) for queue in asked)
        return answer(shown, unknown, UNKNOWN_QUEUE if unknown else 0)

    def _server(self) -> dict[str, str]:
        config, states = self.server.config, self.server.states()
        limits = {
            name: f"[u:PBS_GENERIC={config[name]}]" for name in ("max_run", "max_queued") if config[name] is not None
        }
        return {
            "server_state": "Active" if config["scheduling"] else "Idle",
            "server_host": self.server.host,
            "scheduling": str(config["scheduling"]),
            "total_jobs": str(sum(states.values())),
            "state_count": state_count(states),
            "default_queue": config["default_queue"],
            **limits,
            "log_events": "511",
            "mailer": "/usr/sbin/sendmail",
            "mail_from": "adm",
            "query_other_jobs": "True",
            "resources_default.ncpus": "1",
            "default_chunk.ncpus": "1",
            "scheduler_iteration": "10",
            "flatuid": "True",
            "resv_enable": "True",
            "node_fail_requeue": str(int(config["node_fail_requeue"] or 0)),
            "max_array_size": str(config["max_array_size"]),
            "resend_term_delay": "5",
            "pbs_license_min": "0",
            "pbs_license_max": "2147483647",
            "pbs_license_linger_time": "31536000",
            "license_count": "Avail_Global:1000000 Avail_Local:1000000 Used:0 High_Use:0",
            "pbs_version": config["version"],
            "eligible_time_enable": "False",
            "job_history_enable": str(config["history"]),
            "job_history_duration": "24:00:00",
            "max_concurrent_provision": "5",
            "clear_topjob_estimates_enable": "False",
            "power_provisioning": "False",
            "max_job_sequence_id": "9999999",
        }

    def _node(self, node: Node) -> dict[str, str]:
        """As pbsnodes shows it. Its cores and memory are figures; the machine has what it has."""
        config = self.server.config
        cpus, mem = node.ncpus - node.free_cpus, node.mem - node.free_mem
        runs = [(run.id, slot) for run in self.server.active() for place, slot, _ in run.places if place is node]
        busy = {"jobs": ", ".join(f"{id_}/{slot}" for id_, slot in runs)} if runs else {}
        return {
            "Mom": f"{node.name}.{config['domain']}",
            "Port": "15002",
            "pbs_version": config["version"],
            "ntype": "PBS",
            "state": "state-unknown,down" if not node.up else "free" if node.free_cpus else "job-busy",
            "pcpus": str(os.cpu_count()),
            **busy,
            "resources_available.arch": "linux",
            "resources_available.host": node.name,
            "resources_available.mem": submission.size_text(node.mem),
            "resources_available.ncpus": str(node.ncpus),
            "resources_available.vnode": node.name,
            "resources_assigned.accelerator_memory": "0kb",
            "resources_assigned.hbmem": "0kb",
            "resources_assigned.mem": f"{mem // 1024 if node.up else 0}kb",
            "resources_assigned.naccelerators": "0",
            "resources_assigned.ncpus": str(cpus if node.up else 0),
            "resources_assigned.vmem": "0kb",
            "resv_enable": "True",
            "sharing": "default_shared",
            "license": "l",
            "last_state_change_time": time.ctime(self.server.born),
        }

    def _whole(self, id_: str) -> str:
        return id_ if "." in id_ else f"{id_}.{self.server.name}"

    def _find(self, id_: str) -> tuple[Job, Run | None] | None:
        """The job, and its member where one is meant."""
        match = IDENTIFIER.fullmatch(id_)
        job = self.server.jobs.get(int(match[1])) if match else None
        if match is None or job is None or (match[4] or self.server.name) != self.server.name:
            return None
        if (match[2] is not None) != job.is_array:
            return None
        if not match[3]:
            return job, None
        run = job.member(int(match[3]))
        return (job, run) if run is not None else None

    def _named(self, operand: str, flags: set[str]) -> Shown:
        if not operand[:1].isdigit():
            if operand not in self.server.queues:
                raise Refused(UNKNOWN_QUEUE, f"qstat: Unknown queue {operand}\n")
            return [(id_, job) for id_, job in self._everything(flags, None) if job["queue"] == operand]
        found = self._find(operand)
        if found is None:
            raise Refused(UNKNOWN, f"qstat: Unknown Job Id {self._whole(operand)}\n")
        job, run = found
        if job.over and "x" not in flags:
            advice = "use -x or -H to obtain historical job information"
            raise Refused(FINISHED, f"qstat: {self._whole(operand)} Job has finished, {advice}\n")
        if run is not None:
            return [(run.id, job.member_attributes(run))]
        return list(_of(job, members="t" in flags))

    def _everything(self, flags: set[str], user: str | None) -> Shown:
        if user not in (None, self.server.owner):
            return []
        jobs = (job for job in self.server.jobs.values() if not job.over or "x" in flags)
        return [shown for job in jobs for shown in _of(job, members="t" in flags)]

    # qdel

    def qdel(self, argv: Sequence[str]) -> Answer:
        stderr, code, running = "", 0, []
        for operand in [word for word in argv if not word.startswith("-")]:
            try:
                running += self._delete(operand)
            except Refused as refused:
                stderr, code = stderr + refused.words, refused.code
        self.server.end(running, 271)
        return answer("", stderr, code)

    def _delete(self, operand: str) -> list[Run]:
        """Those that run and are to be ended; the others are gone at once."""
        if match := RANGE.fullmatch(operand):
            found = self._find(f"{match[1]}[].{match[5] or self.server.name}")
            wanted = set(range(int(match[2]), int(match[3]) + 1, int(match[4] or 1)))
            runs = [run for run in found[0].runs if run.index in wanted and not run.over] if found else []
        elif IDENTIFIER.fullmatch(operand) is None:
            raise Refused(1, f"qdel: illegally formed job identifier: {operand}\n")
        else:
            found = self._find(operand)
            runs = [found[1]] if found and found[1] else [run for run in found[0].runs if not run.over] if found else []
        if found is None:
            inside = self._find(re.sub(r"\[\d+\]", "[]", operand)) is not None and "[]" not in operand
            words, code = ("Invalid request", INVALID) if inside else ("Unknown Job Id", UNKNOWN)
            raise Refused(code, f"qdel: {words} {self._whole(operand)}\n")
        job = found[0]
        if job.over:
            raise Refused(FINISHED, f"qdel: Job has finished {self._whole(operand)}\n")
        if len(runs) == 1 and runs[0].over:
            raise Refused(NO_MEMBER, f"qdel: Request invalid for finished array subjob {self._whole(operand)}\n")
        for run in [run for run in runs if run.state == "Q"]:
            self.server.discard(run)
        self.server.close(job)
        return [run for run in runs if run.state == "R"]

    def qalter(self, argv: Sequence[str]) -> Answer:
        """How many members of an array run at a time; nothing else of it was recorded."""
        match = re.fullmatch(r"-W ?max_run_subjobs=(\d+)", " ".join(argv[:-1]))
        found = self._find(argv[-1])
        if match is None or found is None:
            return answer(
                "", f"qalter: Unknown Job Id {self._whole(argv[-1])}\n" if match else "qalter: illegal -W value\n", 1
            )
        found[0].asked.at_a_time = int(match[1])
        self.server.soon()
        return answer()

    # Faults

    def fault(self, words: Sequence[str]) -> str:
        """Whatever a test wants to go wrong; the words of ``tests/labs/pbs/fault``."""
        server, name, rest = self.server, words[0], list(words[1:])
        config = server.config
        switches = {"history": "history", "scheduling": "scheduling", "root-refused": "refuse_root"}
        seconds = {"slow-qdel": "slow_qdel", "requeue-after": "node_fail_requeue", "kill-delay": "kill_delay"}
        limits = {"max-run": "max_run", "max-queued": "max_queued", "max-array-size": "max_array_size"}
        if name in switches:
            config[switches[name]] = rest[0] == "on"
        elif name in seconds:
            config[seconds[name]] = _seconds(rest[0])
        elif name in limits:
            config[limits[name]] = None if rest[0] == "none" else int(rest[0])
        elif name == "server-down":
            server.silence(_seconds(rest[0]) if rest else None)
        elif name == "server-up":
            server.loop.create_task(server.listen())
        elif name == "lose-next-answer":
            server.lose[rest[0]] = rest[1] if len(rest) > 1 else "error"
        else:
            self._fault_of(name, rest[0])
        server.soon()
        return "ok"

    def _fault_of(self, name: str, what: str) -> None:
        server = self.server
        if name in ("stop", "start"):
            server.queues[what].started = name == "start"
        elif name in ("disable", "enable"):
            server.queues[what].enabled = name == "enable"
        elif name in ("hold", "release", "forget"):
            found = self._find(what)
            if found is None:
                raise ValueError(f"there is no job {what}")
            if name == "forget":
                del server.jobs[found[0].number]
            else:
                found[0].held = "u" if name == "hold" else "n"
        elif name in ("node-down", "node-up"):
            node = next(node for node in server.nodes if node.name == what)
            node.up = name == "node-up"
            runs = [run for run in server.active() if any(place[0] is node for place in run.places)]
            if node.up:
                for run in runs:
                    server._requeue(run)
            else:
                server.end(runs, -4)
        else:
            raise ValueError(f"no such fault: {name}")


def _of(job: Job, *, members: bool) -> Iterator[tuple[str, Mapping[str, str]]]:
    yield job.id, job.attributes()
    if job.is_array and members:
        for run in job.runs:
            yield run.id, job.member_attributes(run)


def _options(argv: Iterable[str]) -> tuple[set[str], str | None, list[str]]:
    flags: set[str] = set()
    user, operands, words = None, [], list(argv)
    while words:
        word = words.pop(0)
        if word.startswith("-") and len(word) > 1:
            letters = word[1:]
            flags |= set(letters.partition("u")[0])
            if "u" in letters:
                flags.add("u")
                user = letters.partition("u")[2] or words.pop(0)
        else:
            operands.append(word)
    return flags, user, operands


def _seconds(text: str) -> float:
    """``30s``; ``off`` is none."""
    return 0.0 if text == "off" else float(text.removesuffix("s"))
