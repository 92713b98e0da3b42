"""The user's Dask config, as it stands in this process, with the place where each value was said.

Dask merges ``/etc/dask``, ``~/.config/dask``, the folder or file of ``DASK_CONFIG`` and variables such as
``DASK_JOBQUEUE__PBS__QUEUE`` when it is imported, and programs change the result (``dask.config.set``). What counts is the
result; the files are read once more to find out which of them it comes from.
"""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from clusterhub.errors import ConfigError, Problem
from clusterhub.profile.sources import LARGEST_FILE, shown_path
from clusterhub.profile.tree import Node
from clusterhub.profile.written import one_line
from clusterhub.profile.yaml12 import lines, read_yaml

ANYWHERE = "dask config"
"""The origin of what no file and no variable says: a program has set it."""
INHERITED = "DASK_INTERNAL_INHERIT_CONFIG"
"""By which Dask hands its config to processes that it starts."""
_ABSENT = object()
_YAML = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class DaskValue:
    """One value of the Dask config."""

    path: str
    """Its key, as ``jobqueue.pbs.job-extra``, spelled as in the config."""
    value: Any
    origin: str
    """``~/.config/dask/jobqueue.yaml:9``, ``$DASK_JOBQUEUE__PBS__QUEUE``, or ``dask config``."""
    typed: Any = None
    """What a file says there by the rules of YAML 1.2. Dask reads YAML 1.1, in which an unquoted ``12:00:00`` is 43200."""

    def problem(self, message: str) -> Problem:
        """What is wrong with it; the value is shown without what may be a secret."""
        return Problem(self.origin, self.path, message, one_line(self.value, cut=True))


def may_say(root: str) -> bool:
    """Whether anything could stand below ``root`` in the Dask config; without importing Dask, which takes a third of a second."""
    if "dask" in sys.modules or INHERITED in os.environ:
        return True
    if any(_plain(name.removeprefix("DASK_").lower().split("__")[0]) == _plain(root) for name in os.environ):
        return True
    folders = [Path(os.environ.get("DASK_ROOT_CONFIG", "/etc/dask")), Path.home() / ".config" / "dask"]
    folders += [Path(prefix, "etc", "dask") for prefix in dict.fromkeys((sys.prefix, *site.PREFIXES))]
    folders += [Path(os.environ["DASK_CONFIG"])] if "DASK_CONFIG" in os.environ else []
    return any(_mentions(file, root) for folder in folders for file in _yaml_files(folder))


def _yaml_files(folder: Path) -> Iterator[Path]:
    try:
        yield from [folder] if folder.is_file() else [file for file in folder.iterdir() if file.suffix in _YAML]
    except OSError:  # there is none, or not for us: Dask passes it over as well
        return


def _mentions(file: Path, root: str) -> bool:
    try:
        return root in file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


class DaskConfig:
    """Looks values up by their dotted keys, as ``jobqueue.pbs.queue``, all below one ``root``; ``-`` and ``_`` are the same,
    as they are to Dask. Reads files, writes nothing."""

    def __init__(self, root: str) -> None:
        self._root = root

    def get(self, path: str) -> Any:
        """The value, or None where there is none."""
        return _dask_config().get(path, default=None)

    @property
    def folders(self) -> list[str]:
        """Where Dask looks for files, weakest first."""
        return list(_dask_config().paths)

    def table(self, path: str) -> Mapping[str, Any]:
        """The table at ``path``, empty where there is none. Raises ConfigError where something else stands there."""
        found = self.get(path)
        if found is None:
            return {}
        if not isinstance(found, Mapping):
            raise ConfigError(self.at(path, found).problem("must be a table of keys and values"))
        return found

    def values(self, path: str) -> Iterator[DaskValue]:
        """The entries of the table at ``path``, but for those that only a package says that is imported: its defaults."""
        for key, value in self.table(path).items():
            below = f"{path}.{key}"
            if not self._is_default(below, value):
                yield self.at(below, value)

    def at(self, path: str, value: Any) -> DaskValue:
        """The value with its place: the strongest file or variable that says just this."""
        for source in self._sources:
            said = _look_up(source.config, path)
            if said is not _ABSENT:
                # Stronger ones say something else: a program has set it, or tables of several files were merged.
                return source.value(path, value) if _same(said, value) else DaskValue(path, value, ANYWHERE)
        return DaskValue(path, value, ANYWHERE)

    def _is_default(self, path: str, value: Any) -> bool:
        config = _dask_config()
        if not any(_same(_look_up(default, path), value) for default in config.defaults):
            return False
        return all(_look_up(source.config, path) is _ABSENT for source in self._sources)

    @cached_property
    def _sources(self) -> list[_Source]:
        """Everything that Dask collects, strongest first."""
        config = _dask_config()
        found = list(_variables(self._root))
        for folder in reversed(config.paths):
            found += [_Source(content, file=path) for path, content in reversed(_files(folder))]
        return found


def _dask_config() -> Any:
    """Dask's module. Raises ConfigError where a file is broken, which Dask cannot be imported with."""
    try:
        from dask import config
    except ValueError as error:
        raise ConfigError.of(" ".join(str(error).split()), origin=ANYWHERE) from None
    return config


def _variables(root: str) -> Iterator[_Source]:
    """As ``dask.config.collect_env`` reads them, which would also warn of every deprecated one, once more."""
    config = _dask_config()
    for name in reversed(list(os.environ)):
        keys = name.removeprefix("DASK_").lower().split("__")
        if name.startswith("DASK_") and _plain(keys[0]) == _plain(root):
            said: Any = config.interpret_value(os.environ[name])
            for key in reversed(keys):
                said = {key: said}
            yield _Source(said, variable=name)
    if inherited := os.environ.get(INHERITED):
        yield _Source(config.deserialize(inherited), variable=INHERITED)


def _files(folder: str) -> list[tuple[Path, Mapping[str, Any]]]:
    config = _dask_config()
    try:
        return list(config.collect_yaml([folder], return_paths=True))
    except ValueError:  # broken since Dask was imported, which fails where a file is
        return []


class _Source:
    """One file or variable."""

    def __init__(self, config: Mapping[str, Any], *, file: Path | None = None, variable: str = "") -> None:
        self.config = config
        self._file = file
        self._variable = variable

    def value(self, path: str, value: Any) -> DaskValue:
        """The value with its line, where the file can be read by the rules of YAML 1.2 as well."""
        if self._file is None:
            return DaskValue(path, value, f"${self._variable}")
        node = self._tree
        for step in path.split("."):
            node = _entry(node, step) if node is not None else None
        if node is None:
            return DaskValue(path, value, shown_path(self._file))
        return DaskValue(path, value, node.key_place, node.plain())

    @cached_property
    def _tree(self) -> Node | None:
        assert self._file is not None
        try:
            content = self._file.read_bytes()
            text = content.decode("utf-8-sig") if len(content) <= LARGEST_FILE else ""
            return read_yaml(text, lines(shown_path(self._file)))
        except (OSError, UnicodeDecodeError, ConfigError):
            return None


def _entry(node: Node, key: str) -> Node | None:
    return next((below for name, below in (node.table or {}).items() if _plain(name) == _plain(key)), None)


def _look_up(config: Any, path: str) -> Any:
    for step in path.split("."):
        if not isinstance(config, Mapping):
            return _ABSENT
        config = next((value for key, value in config.items() if _plain(str(key)) == _plain(step)), _ABSENT)
    return config


def _plain(key: str) -> str:
    return key.replace("_", "-")


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)
