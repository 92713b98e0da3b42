"""A resolved profile: every value of it, and where each was said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from clusterhub.backend import Backend, Leaf, left_by
from clusterhub.errors import Problem
from clusterhub.profile.fields import secret_at
from clusterhub.profile.secrets import HIDDEN, holds_secret_text, is_secret_entry, is_secret_path
from clusterhub.profile.tree import Node
from clusterhub.profile.written import block, one_line
from clusterhub.spec import ClusterSpec

DEFAULT = "default"


@dataclass(frozen=True)
class Resolved:
    """What a profile comes to with all layers and the call: valid, and within the profile's limits."""

    profile: str
    """The profile's name; the backend's where no profile was named."""
    backend: Backend[Any]
    spec: ClusterSpec
    options: BaseModel
    """The backend's own options, an instance of ``backend.options_type``."""
    origins: Mapping[str, str]
    """Where each value was said, by its dotted key; ``default`` where nobody said it."""
    unused: tuple[Problem, ...] = ()
    """What the user's dask config says, where it is a layer of this, and what has no effect here: each key with why."""

    def origin_of(self, path: str) -> str:
        """Where the value at a dotted key was said; for a table, where the first of its values that was said was."""
        if path in self.origins:
            return self.origins[path]
        below = [origin for key, origin in self.origins.items() if key.startswith(f"{path}.")]
        return next((origin for origin in below if not _is_default(origin)), DEFAULT)

    def leaves(self) -> list[Leaf]:
        """Every value, defaults included, in the order of the vocabulary, the backend's options last."""
        found, left = [], left_by(self.spec, self.backend)
        for path, value in _values(self.spec, self.options, self.backend.name):
            dotted = ".".join(path)
            if dotted in left:
                found.append(Leaf(dotted, f"left to {self.backend.name}", DEFAULT, is_default=True, left=True))
                continue
            origin = self.origins.get(dotted, DEFAULT)
            text = HIDDEN if value not in (None, {}) and self._is_secret(path) else self._text(dotted, value)
            found.append(Leaf(dotted, text, origin, _is_default(origin)))
        return found

    def _text(self, dotted: str, value: Any) -> str:
        return str(self.spec.workers) if dotted == "workers" else one_line(value)

    def _is_secret(self, path: tuple[str, ...]) -> bool:
        # A hint on where to find a password is none, although the key that it is for names one.
        if path[0] == "required":
            return False
        return is_secret_path(path) or (path[0] == self.backend.name and secret_at(type(self.options), path[1:]))

    def as_yaml(self) -> str:
        """A file to paste: the profile with everything that was said. Secrets are left out, each with a comment."""
        entries: list[tuple[tuple[str, ...], Any, str]] = []
        for path, value in _values(self.spec, self.options, self.backend.name):
            dotted = ".".join(path)
            if _is_default(self.origins.get(dotted, DEFAULT)) and dotted != "backend":
                continue
            if value is not None and (self._is_secret(path) or _says_secret(value)):
                entries.append((path, ..., "left out, it is or holds a secret"))
            else:
                entries.append((path, value, ""))
        profile = [(("profiles", self.profile, *path), value, comment) for path, value, comment in entries]
        return "\n".join(block(profile)) + "\n"


def _is_default(origin: str) -> bool:
    # Origins of layers are paths, `call`, `package …`: none of them begins like these two.
    return origin.startswith((DEFAULT, "backend "))


def _says_secret(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(is_secret_entry(value, key) or _says_secret(entry) for key, entry in value.items())
    if isinstance(value, list | tuple):
        return any(_says_secret(item) for item in value)
    return isinstance(value, str) and holds_secret_text(value)


def origins_in(tree: Node, spec: ClusterSpec, options: BaseModel, backend: str) -> dict[str, str]:
    """The origin of every value of a resolved profile, looked up in the tree that it was made from."""
    return {".".join(path): _origin(tree, path) for path, _ in _values(spec, options, backend)}


def _origin(tree: Node, path: tuple[str, ...]) -> str:
    node = tree
    for step in path:
        below = node.get(step)
        if below is None:
            # A text or a number that a model took apart is the origin of all its parts.
            return DEFAULT if node.table is not None else node.origin
        node = below
    return node.origin


def _values(spec: ClusterSpec, options: BaseModel, backend: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value with its path, as plain data."""
    for model, prefix in ((spec, ()), (options, (backend,))):
        plain = model.model_dump(mode="json", by_alias=True, fallback=str, warnings=False)
        for path, value in _flat(plain, ()):
            yield (*prefix, *path), value


def _flat(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    # A range of workers is one value to people, as the number is that it stands beside.
    if isinstance(value, dict) and (value or not path) and path != ("workers",):
        for key, below in value.items():
            yield from _flat(below, (*path, str(key)))
    else:
        yield path, value
