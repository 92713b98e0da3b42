"""How qstat shows jobs: its text form and its tables, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

Attributes = Mapping[str, str]

ORDER = (
    "Job_Name", "Job_Owner", "resources_used", "job_state", "queue", "server", "Account_Name", "Checkpoint", "ctime", "depend",
    "Error_Path", "exec_host", "exec_vnode", "Execution_Time", "Hold_Types", "Join_Path", "Keep_Files", "Mail_Points", "mtime",
    "Output_Path", "Priority", "qtime", "Rerunable", "Resource_List", "stime", "obittime", "session_id", "Shell_Path_List",
    "jobdir", "substate", "Variable_List", "comment", "etime", "run_count", "Stageout_status", "Exit_status",
    "Submit_arguments", "array", "array_state_count", "array_indices_submitted", "array_indices_remaining", "array_id",
    "array_index", "history_timestamp", "project", "Submit_Host",
)  # fmt: skip
"""In which PBS shows attributes; of those with parts, the parts are sorted."""
WIDTH = 78
_PLACE = {name: place for place, name in enumerate(ORDER)}


def ordered(attributes: Attributes) -> list[tuple[str, str]]:
    """The attributes as PBS sorts them."""
    return sorted(attributes.items(), key=lambda item: (_PLACE[item[0].partition(".")[0]], item[0]))


def full(id_: str, attributes: Attributes, *, wide: bool = False) -> str:
    """One job of ``qstat -f``."""
    lines = [f"    {name} = {value if wide else wrapped(name, value)}\n" for name, value in ordered(attributes)]
    return f"Job Id: {id_}\n{''.join(lines)}\n"


def wrapped(name: str, value: str) -> str:
    """A value broken into lines: behind commas, and else wherever a line is full, which it may be at its very end."""
    parts = [part for part in value.split(",") if part]
    column, text = len(name) + 7, ""
    for number, part in enumerate(parts):
        text += "," if number else ""
        if len(part) + column < WIDTH:
            text += part
            column += len(part)
            continue
        if number:
            text += "\n\t"
            column = 9
        for character in part:
            text += character
            column += 1
            if column > WIDTH:
                text += "\n\t"
                column = 8
    return text + ("," if value.endswith(",") and parts else "")


def table(jobs: Iterable[tuple[str, Attributes]]) -> str:
    """Plain ``qstat``."""
    rows = [
        f"{id_:<17.17} {job['Job_Name']:<16.16} {_user(job):<16.16}  {job.get('resources_used.cput', '0'):>8.8}"
        f" {job['job_state']} {job['queue']:<16.16}\n"
        for id_, job in jobs
    ]
    if not rows:
        return ""
    return "".join([
        "Job id            Name             User              Time Use S Queue\n",
        "----------------  ---------------- ----------------  -------- - -----\n",
        *rows,
    ])  # fmt: skip


NARROW = (15, 8, 8, 10, 6, 3, 3)
WIDE = (30, 15, 15, 15, 8, 4, 5)
_TITLES = ("Job ID", "Username", "Queue", "Jobname", "SessID", "NDS", "TSK")


def alternative(
    server: str, jobs: Iterable[tuple[str, Attributes]], *, wide: bool = False, comments: bool = False
) -> str:
    """``qstat -a``, of which ``-u`` shows those of a user and ``-s`` the comments."""
    rows = [line for id_, job in jobs for line in _rows(id_, job, wide=wide, comments=comments)]
    if not rows:
        return ""
    widths = WIDE if wide else NARROW
    before = sum(widths) + len(widths)
    titles = " ".join(f"{title:<{width}.{width}}" for title, width in zip(_TITLES, widths, strict=True))
    dashes = " ".join("-" * width for width in widths)
    head = [
        f"\n{server}: \n",
        f"{'':<{before}}Req'd  Req'd   Elap\n",
        f"{titles} Memory Time  S Time\n",
        f"{dashes} ------ ----- - -----\n",
    ]
    return "".join(head + rows)


def _rows(id_: str, job: Attributes, *, wide: bool, comments: bool) -> Iterator[str]:
    none = " -- "
    values = (
        id_, _user(job), job["queue"], job["Job_Name"], job.get("session_id", none),
        job.get("Resource_List.nodect", none), job.get("Resource_List.ncpus", none),
    )  # fmt: skip
    cells = [
        f"{value:{'<' if place < 4 else '>'}{width}.{width}}"
        for place, (value, width) in enumerate(zip(values, WIDE if wide else NARROW, strict=True))
    ]
    asked = job.get("Resource_List.walltime", "")
    used = job.get("resources_used.walltime", "00:00:00" if job["job_state"] == "R" else "")
    memory = job.get("Resource_List.mem", none)
    yield f"{' '.join(cells)} {memory:>6.6} {asked[:5] or none:>5.5} {job['job_state']} {used[:5] or none:>5.5}\n"
    if comments:
        comment = job.get("comment", none)
        yield f"   {comment if len(comment) <= 74 else comment[:70] + '...'}\n"


def _user(job: Attributes) -> str:
    return job["Job_Owner"].partition("@")[0]


def queues(found: Iterable[tuple[str, Attributes]]) -> str:
    """``qstat -Q -f``."""
    return "".join(_listed(f"Queue: {name}", attributes) for name, attributes in found)


def server(name: str, attributes: Attributes) -> str:
    """``qstat -B -f``."""
    return _listed(f"Server: {name}", attributes)


def _listed(head: str, attributes: Attributes) -> str:
    lines = [f"    {name} = {wrapped(name, value)}\n" for name, value in attributes.items()]
    return f"{head}\n{''.join(lines)}\n"


def nodes(found: Iterable[tuple[str, Attributes]]) -> str:
    """``pbsnodes -a``, which breaks no line."""
    return "".join(
        f"{name}\n" + "".join(f"     {key} = {value}\n" for key, value in attributes.items()) + "\n"
        for name, attributes in found
    )
