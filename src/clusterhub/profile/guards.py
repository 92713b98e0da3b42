"""What a profile demands of whoever uses it: its limits, what must be given, and the hosts it is made for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from clusterhub.backend import Backend
from clusterhub.errors import Problem
from clusterhub.profile import here
from clusterhub.profile.fields import default_at
from clusterhub.profile.sources import shown_path, user_file
from clusterhub.profile.tree import Node, find, merge
from clusterhub.profile.written import one_line
from clusterhub.quantities import Duration
from clusterhub.spec import ClusterSpec, Workers

LOWERED = "default, lowered to limits.workers"


def limit_problems(profile: Node, call: Node) -> Iterator[Problem]:
    """Where a call takes back or raises a limit of the profile; lower ones are fine."""
    limits, wanted = profile.get("limits"), call.get("limits")
    if limits is None or limits.table is None or wanted is None:
        return
    for key, limit in limits.table.items():
        asked = wanted if wanted.value is None else wanted.get(key)
        if asked is None or limit.value is None:
            continue
        shown = one_line(limit.plain(), cut=True)
        if asked.value is None:
            message = f"is set to {shown} at {limit.origin}; a call may lower it, not take it back"
        elif _more(key, asked.value, limit.value):
            message = f"a call may not raise the limit of {shown}, set at {limit.origin}"
        else:
            continue
        yield Problem(asked.origin, f"limits.{key}", message, one_line(asked.plain(), cut=True))


def _more(key: str, asked: Any, limit: Any) -> bool:
    """Whether ``asked`` is over ``limit``; what is no limit at all is for the validation to tell."""
    try:
        if key == "walltime":
            return Duration.parse(asked) > Duration.parse(limit)
        return _count(asked) > _count(limit)
    except ValueError:
        return False


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("not a number")
    return value


def lowered(tree: Node, said: Node) -> Node:
    """The tree with the number of workers within the limit, as far as nobody said that number."""
    limit = find(tree, ("limits", "workers"))
    if limit is None or isinstance(limit.value, bool) or not isinstance(limit.value, int) or limit.value < 0:
        return tree
    wished = said.get("workers")
    if wished is not None and (wished.table is None or "maximum" in wished.table):
        return tree
    current = tree.get("workers")
    low, high = _range(current.plain() if current is not None else {})
    if high is None or low is None or high <= limit.value:
        return tree
    # A minimum that was said and is over the limit stays visible, so that the validation tells of it.
    entries: dict[str, Any] = {"maximum": Node(limit.value if wished is None else max(low, limit.value), LOWERED)}
    if wished is None:
        entries["minimum"] = Node(min(low, limit.value), LOWERED)
    return merge(tree, Node({"workers": Node(entries, wished.origin if wished is not None else LOWERED)}, tree.origin))


def _range(workers: Any) -> tuple[int | None, int | None]:
    plain = Workers()
    if isinstance(workers, dict):
        low, high = workers.get("minimum", plain.minimum), workers.get("maximum", plain.maximum)
    else:
        low = high = workers
    return tuple(v if isinstance(v, int) and not isinstance(v, bool) else None for v in (low, high))  # type: ignore[return-value]


def required_problems(said: Node, backend: Backend[Any], others: Iterable[str], profile: str = "") -> Iterator[Problem]:
    """The keys that must be given and are not. Defaults do not count: a site requires what only its users know."""
    required = said.get("required")
    for dotted, hint in ((required.table if required is not None else None) or {}).items():
        path = dotted.split(".")
        if path[0] in others or not isinstance(hint.value, str):
            continue  # inherited from a profile with another backend; or wrong, which the validation tells
        node = find(said, path)
        if node is not None and node.plain() not in (None, "", [], {}):
            continue
        if not _exists(path, backend):
            yield Problem(hint.key_place, f"required.{dotted}", "there is no such key; correct it")
        else:
            told = f": {hint.value}" if hint.value else ""
            yield Problem(hint.key_place, dotted, f"must be given{told}{_where_to_say(profile, path)}")


def _where_to_say(profile: str, path: list[str]) -> str:
    """How a user adds a key to a profile that is somebody else's."""
    file = user_file()
    if not profile or file is None:
        return ""
    entry = "..."
    for key in reversed([profile, *path]):
        entry = f"{{{key}: {entry}}}"
    return f"; say it in {shown_path(file)}: profiles: {entry}"


def _exists(path: list[str], backend: Backend[Any]) -> bool:
    try:
        if path[0] == backend.name:
            default_at(backend.options_type, path[1:])
        else:
            default_at(ClusterSpec, path)
    except KeyError:
        return False
    return True


def host_problem(said: Node) -> Problem | None:
    """That the profile cannot be used on this host, and where it can; None where it can be used here."""
    node = said.get("hosts")
    if node is None:
        return None
    patterns = [node.value] if isinstance(node.value, str) else node.plain()
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        return None  # the validation tells
    if here.matches_here(patterns):
        return None
    where = " or ".join(patterns)
    return Problem(node.origin, "hosts", f"can be used on {where}; this is {here.host_names()[0]}")
