"""Values as a person writes them into the config: one line for messages and tables, and whole files of YAML 1.2."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from clusterhub.profile.secrets import HIDDEN, is_secret_entry, redact_text
from clusterhub.profile.yaml12 import scalar

LONGEST_SHOWN = 60
"""Characters of a value in a message: enough to recognise it."""
_LONGEST_READ = 400
"""Characters of a value that are looked at at all before it is cut."""

# Texts that read back as themselves without quotes: within [] and {}, and alone on a line.
_FIRST, _REST = "A-Za-z0-9_/.~$+", r"A-Za-z0-9_/.~$*+=%@<>()^;`\- "
_BARE_IN_FLOW = re.compile(rf"-?[{_FIRST}][{_REST}]*(?::(?=[^\s:])[{_REST}]+)*")
_BARE_IN_BLOCK = re.compile(rf"-?[{_FIRST}][{_REST},]*(?::(?=[^\s:])[{_REST},]+)*")


def one_line(value: Any, *, cut: bool = False) -> str:
    """The value in one line, with everything hidden that may be a secret; ``cut`` keeps it short."""
    text = _flow(value, in_block=True, hide=True, limit=_LONGEST_READ if cut else None)
    if cut and len(text) > LONGEST_SHOWN:
        return f"{text[: LONGEST_SHOWN - 3]}..."
    return text


def _flow(value: Any, *, in_block: bool, hide: bool, limit: int | None = None) -> str:
    if isinstance(value, Mapping):
        shown = _first(value.items(), limit)
        inside = ", ".join(
            f"{_flow(key, in_block=False, hide=hide)}: {_entry(value, key, hide, limit)}" for key, _ in shown
        )
        return f"{{{inside}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_flow(item, in_block=False, hide=hide, limit=limit) for item in _first(value, limit))}]"
    if isinstance(value, str):
        text = value if limit is None else value[:limit]
        if hide:
            text = redact_text(text)
        return HIDDEN if hide and text == HIDDEN else _text(text, in_block)
    return _other(value)


def _first(items: Iterable[Any], limit: int | None) -> Iterator[Any]:
    for index, item in enumerate(items):
        if limit is not None and index >= LONGEST_SHOWN:
            return
        yield item


def _entry(table: Mapping[Any, Any], key: Any, hide: bool, limit: int | None) -> str:
    if hide and table[key] is not None and is_secret_entry(table, key):
        return HIDDEN
    return _flow(table[key], in_block=False, hide=hide, limit=limit)


def _other(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(repr(float(value)), repr(value))
    if isinstance(value, int) and value.bit_length() > 1000:
        return "a number of more than 300 digits"
    # Any object can stand in a call; its text may hold anything, so it gets a line and no more.
    return " ".join(redact_text(str(value)[:_LONGEST_READ]).split())


def _text(text: str, in_block: bool) -> str:
    """The text without quotes where it reads back as itself, else as a JSON string, which YAML 1.2 reads."""
    pattern = _BARE_IN_BLOCK if in_block else _BARE_IN_FLOW
    bare = (
        pattern.fullmatch(text) is not None
        and not text.endswith(" ")
        and " #" not in text
        and isinstance(scalar(text), str)
        and not re.fullmatch(r"0o[0-7]*|0x[0-9a-fA-F]*|\.\.\.|---|<<", text)
    )
    return text if bare else quoted(text)


def quoted(text: str) -> str:
    """A double-quoted scalar of YAML. JSON's own escapes of rare characters come in halves, which YAML reads as two."""
    return re.sub(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd]", _escaped, json.dumps(text, ensure_ascii=False))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def block(entries: Sequence[tuple[Sequence[str], Any, str]], indent: int = 0) -> list[str]:
    """Lines of YAML for leaves, each a path, a value and a comment; a leaf whose value is ``...`` is only its comment.

    Leaves of one table must follow one another.
    """
    lines: list[str] = []
    open_tables: list[str] = []
    for path, value, comment in entries:
        *tables, key = path
        common = 0
        while common < min(len(tables), len(open_tables)) and tables[common] == open_tables[common]:
            common += 1
        for depth in range(common, len(tables)):
            lines.append(f"{'  ' * (indent + depth)}{_key(tables[depth])}:")
        open_tables = list(tables)
        pad = "  " * (indent + len(tables))
        if value is ...:
            lines.append(f"{pad}# {_key(key)}: {comment}")
        else:
            text = _flow(value, in_block=True, hide=False)
            lines.append(f"{pad}{_key(key)}: {text}" + (f"  # {comment}" if comment else ""))
    return lines


def _key(key: str) -> str:
    text = _text(key, in_block=False)
    return quoted(key) if text == key and len(key) > 100 else text
