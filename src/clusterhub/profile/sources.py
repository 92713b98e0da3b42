"""The layers of the config, weakest first: installed packages, the site's files, the user's file.

**For packages.** A distribution brings profiles by an entry point of the group ``clusterhub.profiles``::

    [project.entry-points."clusterhub.profiles"]
    my-site = "my_site:PROFILES"

``PROFILES`` is the path of a YAML file (a ``str``, a ``pathlib.Path``, or what ``importlib.resources.files`` gives), or
the config itself as a mapping ``{"profiles": {...}}``, or a function without arguments that returns either.

Nothing here ever writes a file, and a file that cannot be read or meant is a problem with its place, never a traceback.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from clusterhub.errors import ConfigError, Problem
from clusterhub.profile.tree import Node, Refused, from_python
from clusterhub.profile.yaml12 import lines, read_yaml

GROUP = "clusterhub.profiles"
TOP_LEVEL = ("default", "profiles")
LARGEST_FILE = 4 * 2**20
"""Bytes. A config of two hundred profiles has 0.1 MiB; what is larger is no config."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What all layers say, weakest first, and what is wrong with those that could not be read as a whole or in part."""

    layers: tuple[Node, ...]
    problems: tuple[Problem, ...]

    def checked(self) -> Sources:
        """These sources, or ConfigError where one of them has a problem: to go on without it would mislead."""
        if self.problems:
            raise ConfigError(self.problems)
        return self


def user_file() -> Path | None:
    """Where this user's config is or would be: ``$CLUSTERHUB_CONFIG``, else ``~/.clusterhub.yaml``."""
    if named := os.environ.get("CLUSTERHUB_CONFIG"):
        return Path(named).expanduser() if named.startswith("~") and _home() else Path(named)
    home = _home()
    return home / ".clusterhub.yaml" if home is not None else None


def _home() -> Path | None:
    text = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
    return Path(text) if Path(text).is_absolute() else None


def site_directories() -> tuple[Path, ...]:
    """The folders of the site's files, weaker first."""
    found = [Path("/etc/clusterhub"), Path(sys.prefix) / "etc" / "clusterhub"]
    return tuple(dict.fromkeys(found))


def read_sources() -> Sources:
    """Every layer that there is. Never raises for what a layer holds: each problem is told with its place."""
    layers: list[Node] = []
    problems: list[Problem] = []
    for read in _readers():
        try:
            root = read()
        except ConfigError as error:
            problems.extend(error.problems)
            continue
        if root is not None:
            layer, wrong = _shaped(root)
            layers.append(layer)
            problems.extend(wrong)
    return Sources(tuple(layers), tuple(problems))


def _readers() -> Iterator[Callable[[], Node | None]]:
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (_distribution(entry), entry.name)):
        yield partial(_read_package, entry)
    for folder in site_directories():
        yield from (partial(_read_file, path) for path in _site_files(folder))
    yield _read_user_file


def _site_files(folder: Path) -> list[Path]:
    try:
        return sorted(
            path for path in folder.iterdir() if path.name.endswith(".yaml") and not path.name.startswith(".")
        )
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError:
        # It is there and may not be listed: reading the folder itself as a file tells that with its reason.
        return [folder]


def _read_user_file() -> Node | None:
    path = user_file()
    if path is None:
        return None
    required = bool(os.environ.get("CLUSTERHUB_CONFIG"))
    return _read_file(path, missing="does not exist; correct or unset CLUSTERHUB_CONFIG" if required else None)


def _read_file(path: Path, missing: str | None = None) -> Node | None:
    """The tree of a file; None where it is not there, unless ``missing`` says what that means."""
    origin = shown_path(path)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        if missing is not None:
            raise ConfigError(Problem(origin, "", missing)) from None
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(Problem(origin, "", f"cannot be read: {_reason(error)}")) from None
    return _read_content(content, origin)


def _reason(error: Exception) -> str:
    if isinstance(error, IsADirectoryError):
        return "it is a directory; a file of YAML belongs there"
    if isinstance(error, PermissionError):
        return "permission denied; make it and the folders above readable to you"
    return str(getattr(error, "strerror", None) or error)


def _read_content(content: bytes, origin: str) -> Node:
    if len(content) > LARGEST_FILE:
        raise ConfigError(Problem(origin, "", f"is larger than {LARGEST_FILE // 2**20} MiB, and so no config"))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(Problem(f"{origin}:{line}", "", "is not UTF-8; save the file with that encoding")) from None
    return read_yaml(text, lines(origin))


def _read_package(entry: EntryPoint) -> Node | None:
    origin = f"package {_distribution(entry)}"
    try:
        brought = entry.load()
        if callable(brought):
            brought = brought()
        content = _package_content(brought)
    except Exception as error:  # noqa: BLE001 - a package may fail in any way; it is told, and the others are read
        message = f"its profiles ({entry.value}) cannot be loaded: {type(error).__name__}: {str(error)[:200]}"
        raise ConfigError(Problem(origin, "", message)) from None
    if isinstance(content, bytes):
        return _read_content(content, origin)
    try:
        return from_python(content, origin)
    except Refused as refused:
        raise ConfigError(refused.problem) from None


def _package_content(brought: object) -> bytes | Mapping[Any, Any]:
    if isinstance(brought, Mapping):
        return brought
    if isinstance(brought, str):
        return Path(brought).read_bytes()
    if hasattr(brought, "read_bytes"):
        content: bytes = brought.read_bytes()
        return content
    raise TypeError(f"{type(brought).__name__} is neither the path of a YAML file nor a mapping")


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.name


def shown_path(path: Path) -> str:
    """The path as people write it, with ``~`` for their home."""
    home = _home()
    if home is not None and path.is_relative_to(home) and home != Path("/"):
        return str(Path("~") / path.relative_to(home))
    return str(path)


def _shaped(root: Node) -> tuple[Node, list[Problem]]:
    """The usable part of a layer, and what is wrong with the rest of it."""
    if root.value is None:
        return Node({}, root.origin), []
    if root.table is None:
        kind = "a list" if isinstance(root.value, tuple) else "a single value"
        return Node({}, root.origin), [
            Problem(root.origin, "", f"holds {kind}; a config is a table with the keys {' and '.join(TOP_LEVEL)}")
        ]
    problems = [_unknown_key(key, node) for key, node in root.table.items() if key not in TOP_LEVEL]
    kept: dict[str, Node] = {}
    # A section whose content is all commented out says nothing; it does not take other layers' profiles back.
    if (section := root.get("profiles")) is not None and section.value is not None:
        kept["profiles"], wrong = _profiles(section)
        problems += wrong
    if (default := root.get("default")) is not None:
        wrong = _default_problems(default)
        problems += wrong
        if not wrong:
            kept["default"] = default
    return Node(kept, root.origin), problems


def _unknown_key(key: str, node: Node) -> Problem:
    close = difflib.get_close_matches(key, TOP_LEVEL, n=1)
    if close:
        hint = f"did you mean {close[0]}?"
    elif node.table is not None:
        hint = f"a profile goes under profiles: {{{key}: ...}}"
    else:
        hint = f"a config has the keys {' and '.join(TOP_LEVEL)}"
    return Problem(node.key_place, key[:60], f"unknown key; {hint}")


def _profiles(section: Node) -> tuple[Node, list[Problem]]:
    if section.table is None:
        return Node({}, section.origin), [
            Problem(section.origin, "profiles", "must be a table of profiles, as {hal: {backend: pbs}}")
        ]
    kept, problems = {}, []
    for name, profile in section.table.items():
        if not name:
            problems.append(Problem(profile.key_place, "profiles", "a profile needs a name"))
        elif profile.table is None and profile.value is not None:
            problems.append(
                Problem(profile.key_place, f"profiles.{name[:60]}", "must be a table, as {backend: pbs, workers: 10}")
            )
        else:
            kept[name] = profile
    return Node(kept, section.origin, section.key_origin), problems


def _default_problems(default: Node) -> list[Problem]:
    items = default.value if isinstance(default.value, tuple) else (default,)
    if default.value is None or (items and all(isinstance(item.value, str) and item.value for item in items)):
        return []
    return [Problem(default.origin, "default", "must be the name of a profile, or a list of names")]
