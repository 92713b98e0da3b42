"""What qsub makes of its options and of the directives in a script, and what it refuses, in the words and codes of OpenPBS."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

USAGE = """\
usage: qsub [-a date_time] [-A account_string] [-c interval]
\t[-C directive_prefix] [-e path] [-f ] [-h ] [-I [-X]] [-j oe|eo] [-J X-Y[:Z]]
\t[-k keep] [-l resource_list] [-m mail_options] [-M user_list]
\t[-N jobname] [-o path] [-p priority] [-P project] [-q queue] [-r y|n]
\t[-R o|e|oe] [-S path] [-u user_list] [-W otherattributes=value...]
\t[-v variable_list] [-V ] [-z] [script | -- command [arg1 ...]]
       qsub --version
"""
WITH_VALUE = frozenset("aAcCejJklmMNopPqrRSuWv")
FLAGS = frozenset("fhIXVz")
KNOWN = frozenset(
    {
        "ncpus", "mem", "vmem", "pmem", "pvmem", "cput", "pcput", "walltime", "min_walltime", "max_walltime", "mpiprocs",
        "ompthreads", "host", "vnode", "arch", "nice", "file", "software", "place", "select", "nodes", "nodect",
    }
)  # fmt: skip
SIZES = {"b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40}
PLACES = re.compile(r"(free|pack|scatter|vscatter)?(:?(excl|exclhost|shared))?(:?group=\w+)?")
LONGEST_NAME = 236


class Refused(Exception):
    """qsub ends with this code, and says this."""

    def __init__(self, code: int, words: str, *, usage: bool = False) -> None:
        self.code, self.words = code, words + (USAGE if usage else "")
        super().__init__(words)


def illegal(option: str) -> Refused:
    return Refused(2, f"qsub: illegal -{option} value\n", usage=True)


@dataclass
class Chunk:
    """A part of a selection: so many, each of that."""

    count: int
    ncpus: int = 1
    mem: int = 0
    host: str = ""
    asks_mem: bool = False


@dataclass
class Asked:
    """One submission, checked."""

    name: str
    argv: Sequence[str]
    cwd: str
    environment: Mapping[str, str]
    script: str
    resources: dict[str, str] = field(default_factory=dict)
    chunks: list[Chunk] = field(default_factory=list)
    queue: str = ""
    account: str | None = None
    project: str = "_pbs_project_default"
    join: str = "n"
    keep: str = "n"
    output: str | None = None
    error: str | None = None
    indices: range | None = None
    at_a_time: int | None = None
    """Of an array, how many may run at once: ``-J 0-9%4``, or max_run_subjobs."""
    held: bool = False
    depend: str | None = None
    shell: str | None = None
    rerunnable: bool = True
    begins: float | None = None
    mail: str = "a"
    priority: int = 0
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def ncpus(self) -> int:
        return sum(chunk.count * chunk.ncpus for chunk in self.chunks)

    @property
    def mem(self) -> int:
        return sum(chunk.count * chunk.mem for chunk in self.chunks)


class Options:
    """Options as getopt(3) reads them, with its words about those it does not know."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.resources: list[str] = []
        self.others: list[str] = []
        self.variables: list[str] = []

    def read(self, words: Sequence[str]) -> list[str]:
        """The operands; raises Refused, with all that is wrong."""
        said, operands = "", list(words)
        while operands and operands[0].startswith("-") and operands[0] not in ("-", "--"):
            word = operands.pop(0)[1:]
            while word:
                letter, word = word[0], word[1:]
                if letter in WITH_VALUE:
                    if not word and not operands:
                        said += f"qsub: option requires an argument -- '{letter}'\n"
                        break
                    value, word = word or operands.pop(0), ""
                    said += self._take(letter, value)
                elif letter in FLAGS:
                    self.values.setdefault(letter, "")
                else:
                    said += f"qsub: invalid option -- '{letter}'\n"
        if said:
            raise Refused(2, said, usage=True)
        return operands

    def _take(self, letter: str, value: str) -> str:
        if letter == "l":
            self.resources.append(value)
        elif letter == "W":
            self.others.append(value)
        elif letter == "v":
            self.variables.append(value)
        elif letter == "a" and not re.fullmatch(r"\d{4,12}(\.\d\d)?", value):
            return "qsub: illegal -a value\n"
        elif letter == "N" and len(value) > LONGEST_NAME:
            raise Refused(2, "qsub: Job name is too long \n")
        elif letter == "N" and not re.fullmatch(r"[\w+.=@$%&*()^#~-]+", value, re.ASCII):
            return "qsub: illegal -N value\n"
        elif letter == "J" and not re.fullmatch(r"\d+-\d+(:\d+)?(%\d+)?", value):
            return "qsub: illegal -J value\n"
        else:
            self.values.setdefault(letter, value)
        return ""


def asked(argv: Sequence[str], cwd: str, environment: Mapping[str, str], stdin: str | None) -> Asked | None:
    """The submission that is meant; None where the script has to come from standard input, which was not read yet."""
    options = Options()
    operands = options.read(argv)
    if operands and operands[0] != "-":
        path = Path(cwd) / operands[0]
        try:
            script = path.read_bytes().decode("utf-8", "surrogateescape")
        except OSError as error:
            raise Refused(1, f"qsub: script file:: {error.strerror}\n") from None
        name = path.name
    elif stdin is None:
        return None
    else:
        script, name = stdin, "STDIN"
    if "\r\n" in script:
        raise Refused(1, "qsub: script contains cr, lf\n")
    for words in directives(script, options.values.get("C", "#PBS")):
        try:
            options.read(words)
        except Refused as refused:
            said = refused.words.removesuffix(USAGE)
            raise Refused(1, f"{said}qsub: directive error: {' '.join(words)} \n") from None
    found = Asked(options.values.get("N", name), argv, cwd, environment, script)
    _apply(found, options)
    return found


def directives(script: str, prefix: str) -> Iterable[list[str]]:
    """Those before the first command."""
    for line in script.splitlines():
        if line.startswith(prefix):
            yield shlex.split(line[len(prefix) :], comments=True)
        elif line.strip() and not line.startswith((":", "#")):
            return


def _apply(found: Asked, options: Options) -> None:
    values = options.values
    found.queue = values.get("q", "").partition("@")[0]
    found.account, found.project = values.get("A") or None, values.get("P", found.project)
    found.join, found.keep = values.get("j", "n"), values.get("k", "n")
    found.output, found.error = values.get("o"), values.get("e")
    found.held, found.shell = "h" in values, values.get("S")
    found.rerunnable, found.mail = values.get("r", "y") == "y", values.get("m", "a")
    found.priority = int(values.get("p", "0"))
    if "J" in values:
        found.indices = _indices(values["J"])
        found.at_a_time = int(values["J"].partition("%")[2] or 0) or None
    if "a" in values:
        found.begins = _moment(values["a"])
    for other in options.others:
        name, _, value = other.partition("=")
        if name == "depend":
            found.depend = value
        elif name == "group_list":
            raise Refused(197, "qsub: Bad GID for job execution\n")
    if "V" in values:
        found.variables |= {name: value for name, value in found.environment.items() if "(" not in name}
    for text in options.variables:
        for part in text.split(","):
            name, equals, value = part.partition("=")
            found.variables[name] = value if equals else found.environment.get(name, "")
    _resources(found, options.resources)


def _indices(text: str) -> range:
    first, last, step = (int(part or 1) for part in re.match(r"(\d+)-(\d+)(?::(\d+))?", text).groups())  # type: ignore[union-attr]
    if last <= first:
        raise illegal("J")
    return range(first, last + 1, step)


def _moment(text: str) -> float:
    now = time.localtime()
    clock = text.partition(".")[0][-4:]
    then = time.mktime((now.tm_year, now.tm_mon, now.tm_mday, int(clock[:2]), int(clock[2:]), 0, 0, 0, -1))
    return then if then > time.time() else then + 86400


# Resources


def _resources(found: Asked, lists: Iterable[str]) -> None:
    """``-l``: of what is said twice the first counts, which is that of the command line."""
    _read_resources(found.resources, lists)
    resources = found.resources
    if "nodes" in resources:
        _nodes(found)
    elif "select" in resources:
        for name in ("ncpus", "mem", "vmem", "mpiprocs"):
            if name in resources:
                words = f'qsub: "-lresource=" cannot be used with "select" or "place", resource is: {name}\n'
                raise Refused(5, words)
        found.chunks = [_chunk(part) for part in resources["select"].split("+")]
        resources.setdefault("place", "free")
    else:
        ncpus, mem = resources.get("ncpus", "1"), resources.get("mem")
        resources["select"] = f"1:ncpus={ncpus}" + (f":mem={mem}" if mem else "")
        found.chunks = [_chunk(resources["select"])]
        resources.setdefault("place", "pack")
    resources["ncpus"] = str(found.ncpus)
    resources["nodect"] = str(sum(chunk.count for chunk in found.chunks))
    if found.mem:
        resources["mem"] = size_text(found.mem)


def _read_resources(resources: dict[str, str], lists: Iterable[str]) -> None:
    for text in lists:
        for part in re.split(r",(?=\w+=)", text):
            name, _, value = part.partition("=")
            if name not in KNOWN:
                raise Refused(187, f"qsub: Unknown resource Resource_List.{name}\n")
            resources.setdefault(name, value)
    if "walltime" in resources and seconds_of(resources["walltime"]) is None:
        raise _bad("walltime")
    if not PLACES.fullmatch(resources.get("place", "free")):
        raise _bad("place")


def _nodes(found: Asked) -> None:
    """The old style: ``nodes=2:ppn=4``."""
    match = re.fullmatch(r"(\d+)(?::ppn=(\d+))?", found.resources["nodes"])
    if match is None:
        raise _bad("nodes")
    count, each = int(match[1]), int(match[2] or 1)
    found.chunks = [Chunk(count, each)]
    found.resources |= {"select": f"{count}:ncpus={each}:mpiprocs={each}", "place": "scatter"}


def _chunk(text: str) -> Chunk:
    parts = text.split(":")
    count = parts.pop(0) if parts[0].isdigit() else "1" if "=" in parts[0] else ""
    if not count:
        raise _bad("select")
    if int(count) == 0:
        raise Refused(166, "qsub: Illegal attribute or resource value\n")
    chunk = Chunk(int(count))
    for part in parts:
        name, _, value = part.partition("=")
        if name not in KNOWN:
            raise Refused(187, f"qsub: Unknown resource: {name}\n")
        if name == "ncpus":
            chunk.ncpus = int(value)
        elif name == "mem":
            size = size_of(value)
            if size is None:
                raise Refused(166, "qsub: Illegal attribute or resource value select.mem\n")
            chunk.mem, chunk.asks_mem = size, True
        elif name in ("host", "vnode"):
            chunk.host = value
    return chunk


def _bad(name: str) -> Refused:
    return Refused(166, f"qsub: Illegal attribute or resource value Resource_List.{name}\n")


def size_of(text: str) -> int | None:
    match = re.fullmatch(r"(\d+)([kmgt]?b)?", text.lower())
    return int(match[1]) * SIZES[match[2] or "b"] if match else None


def size_text(size: int) -> str:
    """In the largest unit that leaves no rest, from kb on."""
    size, unit = size // 1024, 0
    while size and size % 1024 == 0 and unit < 3:
        size, unit = size // 1024, unit + 1
    return f"{size}{('kb', 'mb', 'gb', 'tb')[unit]}"


def seconds_of(text: str) -> int | None:
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", text):
        return None
    total = 0
    for part in text.split(":"):
        total = total * 60 + int(float(part))
    return total


def clock(seconds: float) -> str:
    """``00:10:00``."""
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
