"""YAML 1.2 read into trees whose every key and value knows its line.

Measured on 200 profiles of 21 lines: ruamel.yaml's round trip takes 1.1 s, composing its nodes 0.75 s, libyaml's
events with the composing done here 0.09 s. So libyaml (in PyYAML, which dask brings) delivers the events where it is
there, and ruamel.yaml where it is not. What YAML 1.2 says of values is said here, for both: ``no``, ``on`` and
``12:00:00`` are texts.
Whatever libyaml refuses is read again by ruamel.yaml, so that its verdict and its words are the ones that count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from clusterhub.errors import ConfigError, Problem
from clusterhub.profile.tree import DEEPEST, LARGEST, Node

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
# The core schema of YAML 1.2.2, section 10.3.2.
_NUMERIC = re.compile(
    r"""(?P<int>[-+]?[0-9]+) | 0o(?P<oct>[0-7]+) | 0x(?P<hex>[0-9a-fA-F]+)
      | (?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)
      | (?P<inf>[-+]?\.(?:inf|Inf|INF)) | (?P<nan>\.(?:nan|NaN|NAN))""",
    re.VERBOSE,
)
# libyaml ends the name of an anchor at a colon, as YAML 1.1 did.
_ANCHOR_WITH_COLON = re.compile(r"(?:^|[\s,\[{:?-])[&*][^\s,\[\]{}:]*:")
_MOST_DIGITS = 400
"""Longer ones stay texts: Python refuses to convert 4300 digits, and no key of a profile means such a number."""
_TAG = "tag:yaml.org,2002:"

Place = Callable[[int], str]
"""The origin of a line, counted from 1."""


def scalar(text: str) -> Any:
    """What an unquoted word means in YAML 1.2."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    first = text[0]
    if not (first.isdigit() or first in "+-.") or len(text) > _MOST_DIGITS:
        return text
    match = _NUMERIC.fullmatch(text)
    if match is None or not text.isascii():
        return text
    kind = str(match.lastgroup)
    bases = {"int": 10, "oct": 8, "hex": 16}
    if kind in bases:
        return int(match[kind], bases[kind])
    return float(text if kind == "float" else text.replace(".", ""))  # Python's `inf` and `nan` have no dot


def read_yaml(text: str, place: Place) -> Node:
    """The tree of one document. Raises ConfigError with all that is wrong, each problem with its line.

    An empty document is an empty table. Nesting, aliases and size are bounded, so that no input hangs or overflows.
    """
    fast = _libyaml()
    if fast is not None and not _ANCHOR_WITH_COLON.search(text):
        events, errors = fast
        try:
            return _composed(events(text), place)
        except errors:
            pass  # ruamel.yaml decides whether that is an error, and says so in its words
    return _read_by_ruamel(text, place)


def _libyaml() -> tuple[Callable[[str], Iterable[Any]], tuple[type[Exception], ...]] | None:
    try:
        # By name: PyYAML has no annotations, and is here only because dask has it.
        yaml = import_module("yaml")
        loader = yaml.CSafeLoader
    except (ImportError, AttributeError):
        return None
    return (lambda text: yaml.parse(text, Loader=loader)), (yaml.YAMLError, UnicodeError)


def _read_by_ruamel(text: str, place: Place) -> Node:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return _composed(YAML(typ="safe", pure=True).parse(text), place)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(_bad_yaml(place, mark, error.problem or error.context or "cannot be read")) from None
    except (YAMLError, UnicodeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        short = " ".join(str(error).split())[:120]
        raise ConfigError(Problem(place(1), "", f"is no YAML: {short}")) from None


def _bad_yaml(place: Place, mark: Any, problem: str) -> Problem:
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    hint = ""
    if "tab" in problem or "'\\t'" in problem:
        hint = "; indent with spaces, not tabs"
    elif "mapping values are not allowed" in problem:
        hint = "; put a text that holds ': ' in quotes, and check the indentation"
    return Problem(place(line), "", f"is no YAML: {problem} (line {line}, column {column}){hint}")


@dataclass(slots=True)
class _Open:
    """A table or list that is being read."""

    origin: str
    is_table: bool
    anchor: str | None
    key_origin: str
    step: str
    """The key or index that holds it, for the path in messages."""
    entries: dict[str, Node] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)
    inherited: list[Node] = field(default_factory=list)
    """Tables that merge keys (``<<``) bring in."""
    key: str | None = None
    """The key that waits for its value; None where a key comes next."""
    key_at: str = ""
    merging: bool = False
    """Whether the key that waits is a merge key."""
    size: int = 1
    depth: int = 1


@dataclass(frozen=True, slots=True)
class _Anchored:
    node: Node
    size: int
    depth: int


class _Composer:
    """Builds one tree from events, without recursion, and collects what is wrong with it."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._stack: list[_Open] = []
        self._anchors: dict[str, _Anchored] = {}
        self._result: Node | None = None
        self._documents = 0
        self.problems: list[Problem] = []

    def compose(self, events: Iterable[Any]) -> Node:
        handlers = {
            "DocumentStartEvent": self._document,
            "MappingStartEvent": self._opened,
            "SequenceStartEvent": self._opened,
            "MappingEndEvent": self._closed,
            "SequenceEndEvent": self._closed,
            "ScalarEvent": self._scalar,
            "AliasEvent": self._alias,
        }
        for event in events:
            handler = handlers.get(type(event).__name__)
            if handler is not None:
                handler(event)
        if self.problems:
            raise ConfigError(self.problems)
        return self._result or Node({}, self._place(1))

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            self._stop(event, "a second document begins here; a config is one document, without '---' in between")

    def _opened(self, event: Any) -> None:
        origin = self._at(event)
        is_table = type(event).__name__ == "MappingStartEvent"
        if event.tag not in (None, "!", f"{_TAG}map", f"{_TAG}seq"):
            self._refuse_tag(event)
        step, key_origin = self._slot()
        if len(self._stack) >= DEEPEST:
            self._stop(event, f"is nested more than {DEEPEST} levels deep")
        if self._stack and self._stack[-1].is_table and self._stack[-1].key is None:
            self._stop(event, "a key must be a text, not a list or a table; put it in quotes")
        self._stack.append(_Open(origin, is_table, event.anchor, key_origin, step))

    def _closed(self, event: Any) -> None:
        done = self._stack.pop()
        value: Any = _with_inherited(done) if done.is_table else tuple(done.items)
        self._put(event, Node(value, done.origin, done.key_origin), done.anchor, done.size, done.depth)

    def _scalar(self, event: Any) -> None:
        if self._stack and self._stack[-1].is_table and self._stack[-1].key is None:
            self._key(event)
            return
        key_origin = self._slot()[1]
        # The parsers disagree on the line of a value that is not there: its key's is what people see.
        origin = self._at(event) if event.value or not key_origin else key_origin
        self._put(event, Node(self._value(event), origin, key_origin), event.anchor, 1, 1)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            self._stop(event, f"*{event.anchor} is used before &{event.anchor} is complete; define it above")
        known = self._anchors[event.anchor]
        top = self._stack[-1] if self._stack else None
        if top is not None and top.is_table and top.key is None:
            self._stop(event, "a key must be a text, not an alias")
        node = Node(known.node.value, known.node.origin, self._slot()[1])
        self._put(event, node, None, known.size, known.depth)

    def _key(self, event: Any) -> None:
        top = self._stack[-1]
        value = self._value(event)
        if not isinstance(value, str):
            self._problem(event, f"the key {event.value or 'null'} must be a text; put it in quotes")
        name, origin = str(event.value), self._at(event)
        top.key, top.key_at = name, origin
        top.merging = name == "<<" and bool(event.implicit[0])
        if name in top.entries and not top.merging:
            first = top.entries[name].key_place
            self._problem(event, f"given twice, first at {first}; keep one of them", name)

    def _put(self, event: Any, node: Node, anchor: str | None, size: int, depth: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = _Anchored(node, size, depth)
        if not self._stack:
            self._result = node
            return
        top = self._stack[-1]
        top.size += size
        top.depth = max(top.depth, depth + 1)
        if top.size > LARGEST:
            self._stop(event, "its aliases add up to more values than any config has")
        if len(self._stack) + depth > DEEPEST:
            self._stop(event, f"is nested more than {DEEPEST} levels deep")
        if not top.is_table:
            top.items.append(node)
        elif top.merging:
            self._inherit(event, node, top)
        elif top.key is not None:
            top.entries[top.key] = node
        top.key = None

    def _inherit(self, event: Any, node: Node, top: _Open) -> None:
        sources = node.value if isinstance(node.value, tuple) else (node,)
        if all(source.table is not None for source in sources):
            top.inherited.extend(sources)
        else:
            self._problem(event, "a merge key takes a table or a list of tables, as <<: *name", "<<")

    def _slot(self) -> tuple[str, str]:
        """The step of the path that leads to the next value, and where its key was written."""
        if not self._stack:
            return "", ""
        top = self._stack[-1]
        if top.is_table:
            return top.key or "", top.key_at
        return str(len(top.items)), ""

    def _value(self, event: Any) -> Any:
        tag = event.tag
        if tag is None:
            return scalar(event.value) if event.implicit[0] else event.value
        if tag == f"{_TAG}str" or tag == "!":
            return event.value
        kinds = {f"{_TAG}int": int, f"{_TAG}float": int | float, f"{_TAG}bool": bool, f"{_TAG}null": type(None)}
        value = scalar(event.value)
        if tag not in kinds or not isinstance(value, kinds[tag]):
            self._refuse_tag(event)
        return value

    def _refuse_tag(self, event: Any) -> None:
        shown = str(event.tag).replace(_TAG, "!!")
        self._problem(event, f"the tag {shown[:40]} cannot be honoured here; leave it out")

    def _at(self, event: Any) -> str:
        return self._place(event.start_mark.line + 1)

    def _path(self, *last: str) -> str:
        steps = [frame.step for frame in self._stack if frame.step]
        return ".".join([*steps, *last])

    def _problem(self, event: Any, message: str, *last: str) -> None:
        self.problems.append(Problem(self._at(event), self._path(*last), message))

    def _stop(self, event: Any, message: str) -> None:
        """Raise at once: what follows cannot be read, or would take too long."""
        path = ".".join(self._path().split(".")[:4])
        raise ConfigError([*self.problems, Problem(self._at(event), path, message)])


def _composed(events: Iterable[Any], place: Place) -> Node:
    return _Composer(place).compose(events)


def _with_inherited(done: _Open) -> dict[str, Node]:
    """The entries of a table after its merge keys: its own win, then earlier sources over later ones."""
    if not done.inherited:
        return done.entries
    entries = dict(done.entries)
    for source in done.inherited:
        for key, node in (source.table or {}).items():
            entries.setdefault(key, node)
    return entries


def flow_or_scalar(text: str, place: Place) -> Node:
    """A value as a command line gives it: a list or table in flow style, something quoted, or one plain word or line.

    Anything else is one text, so that ``echo a: b # c`` stays what it is.
    """
    stripped = text.strip()
    if stripped[:1] in ("[", "{", '"', "'"):
        return read_yaml(stripped, place)
    return Node(scalar(stripped), place(1))


def lines(origin: str) -> Place:
    """Origins of the lines of a file: ``~/.clusterhub.yaml:9``."""
    cache: dict[int, str] = {}

    def place(line: int) -> str:
        if line not in cache:
            cache[line] = f"{origin}:{line}"
        return cache[line]

    return place


def same(origin: str) -> Place:
    """The same origin for every line, for what is not a file."""
    return lambda line: origin
