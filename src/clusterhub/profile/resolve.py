"""From a name and a call to a valid spec: picks the profile, lays the layers over one another, validates the result.

All problems of a profile are told at once, each with the place it was written, before anything is started.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from clusterhub.backend import Backend
from clusterhub.errors import ClusterhubError, ConfigError, Problem
from clusterhub.profile.catalog import Catalog, Choice, Lineage, listed
from clusterhub.profile.guards import host_problem, limit_problems, lowered, required_problems
from clusterhub.profile.problems import problems_of
from clusterhub.profile.resolved import Resolved, origins_in
from clusterhub.profile.sources import read_sources
from clusterhub.profile.tree import Node, Refused, from_python, merge, settled, without
from clusterhub.profile.words import Surroundings
from clusterhub.profile.written import one_line
from clusterhub.spec import ClusterSpec


def resolve(
    profile: str | ClusterSpec | None,
    overrides: Mapping[str, Any],
    *,
    origin: str = "call",
    anywhere: bool = False,
) -> Resolved:
    """The profile (or backend, or spec) with all layers of the config and ``overrides`` on top.

    ``origin`` is what messages call the overrides. With ``anywhere`` a profile that is made for other hosts resolves as
    well, to be looked at. Without a profile: ``backend`` in the overrides, else ``CLUSTERHUB_PROFILE``, else the
    config's ``default``, else ``local``.

    Raises ConfigError with every problem there is, also when a layer cannot be read; BackendUnavailable where the
    backend is not installed or cannot be loaded. It reads files and starts nothing.
    """
    call = grafted(overrides, origin)
    return resolve_in(Catalog(read_sources().checked()), profile, call, origin, anywhere=anywhere)


def resolve_in(
    catalog: Catalog,
    profile: str | ClusterSpec | None,
    call: Node,
    origin: str = "call",
    *,
    anywhere: bool = False,
    with_defaults: bool = True,
) -> Resolved:
    """:func:`resolve` in a catalog that was read before; ``with_defaults=False`` asks the backend for none."""
    choice, lineage = _start(catalog, profile, call, origin)
    name, at = _backend_name(catalog, choice, (*lineage.parts, call))
    backend = catalog.backend(name)
    below, unused = _dask_layer(backend) if lineage.from_dask else ((), ())
    parts, problems = _own_tables((*below, *lineage.parts, call), backend, catalog, at)
    base = settled(_merged(parts[:-1]))
    problems += limit_problems(base, parts[-1])
    if parts[-1].get("extends") is not None:
        message = "belongs into a profile of the config file; a call names the profile itself"
        problems.append(Problem(origin, "extends", message))
    said = without(settled(_merged(parts)), frozenset({"extends"}))
    draft = _Draft(said, backend, frozenset(catalog.backend_names - {name}), with_defaults)
    return replace(draft.resolved(choice, problems, anywhere=anywhere), unused=unused)


def grafted(values: Mapping[str, Any], origin: str) -> Node:
    """A layer of Python values. Raises ConfigError for what no config can hold."""
    if not isinstance(values, Mapping):
        raise ConfigError.of("must be a mapping of keys and values", origin=origin)
    try:
        return from_python(values, origin)
    except Refused as refused:
        raise ConfigError(refused.problem) from None


def _start(catalog: Catalog, profile: str | ClusterSpec | None, call: Node, origin: str) -> tuple[Choice, Lineage]:
    """What is resolved, and what it is made of before the call is laid on top."""
    if isinstance(profile, ClusterSpec):
        plain = profile.model_dump(exclude_unset=True, warnings=False)
        part = grafted({**plain, "backend": profile.backend}, origin)
        return Choice(str(profile.backend), origin), Lineage((part,))
    asked = call.get("backend")
    if profile is None and asked is not None and isinstance(asked.value, str):
        # A call that names a backend and no profile has chosen: the default profile is made for another one.
        return Choice(asked.value, asked.origin), _bare(asked.value, asked.origin)
    choice = catalog.choose(profile, origin)
    if choice.name in catalog.profiles:
        return choice, catalog.lineage(choice.name)
    return choice, _bare(choice.name, choice.origin)


def _bare(backend: str, origin: str) -> Lineage:
    return Lineage((Node({"backend": Node(backend, origin, origin)}, origin),), from_dask=True)


def _backend_name(catalog: Catalog, choice: Choice, parts: tuple[Node, ...]) -> tuple[str, int]:
    """The backend that the strongest part names, and how many parts from the strongest that one is."""
    installed = listed(catalog.candidates)
    subject = f"profile {choice.name}"
    for distance, part in enumerate(reversed(parts)):
        node = part.get("backend")
        if node is None:
            continue
        if isinstance(node.value, str) and node.value in catalog.backend_names:
            return node.value, distance
        if node.value is None:
            break
        if isinstance(node.value, str):
            message = catalog.unknown_backend(node.value)
        else:
            message = f"must be the name of a backend: {installed}"
        raise ConfigError(Problem(node.origin, "backend", message, one_line(node.plain(), cut=True)), subject=subject)
    place = parts[-2].key_place if len(parts) > 1 else parts[-1].origin
    raise ConfigError(
        Problem(place, "backend", f"must be given, here or in what it extends: one of {installed}"), subject=subject
    )


def _dask_layer(backend: Backend[Any]) -> tuple[tuple[Node, ...], tuple[Problem, ...]]:
    """What the dask config says in our words, and what of it has no effect here."""
    try:
        return (grafted(backend.dask_config(), "dask config"),), tuple(backend.dask_config_unused())
    except ClusterhubError:
        raise
    except Exception as error:
        message = f"cannot be read for backend {backend.name}: {type(error).__name__}: {str(error)[:200]}"
        raise ConfigError.of(message, origin="dask config") from error


def _own_tables(
    parts: tuple[Node, ...], backend: Backend[Any], catalog: Catalog, distance: int
) -> tuple[list[Node], list[Problem]]:
    """The parts without the tables of other backends, and where such a table cannot have been meant.

    A profile that changes the backend of what it patches or extends inherits tables of the old one: those are dropped.
    Where the backend was named, or in what is stronger, such a table is a mistake.
    """
    others = catalog.backend_names - {backend.name}
    decided = len(parts) - 1 - distance
    kept, problems = [], []
    for index, part in enumerate(parts):
        foreign = frozenset(others & (part.table or {}).keys())
        for name in sorted(foreign) if index >= decided else ():
            node = (part.table or {})[name]
            if node.value is not None:
                message = f"holds options of backend {name}; this profile uses {backend.name}"
                problems.append(Problem(node.key_place, name, message))
        kept.append(without(part, foreign) if foreign else part)
    return kept, problems


def _merged(parts: list[Node]) -> Node:
    merged = Node({}, parts[-1].origin if parts else "default")
    for part in parts:
        merged = merge(merged, part)
    return merged


@dataclass(frozen=True)
class _Draft:
    """Everything that was said of one cluster, to be completed and validated."""

    said: Node
    backend: Backend[Any]
    others: frozenset[str]
    """Names of other backends."""
    with_defaults: bool

    def resolved(self, choice: Choice, problems: list[Problem], *, anywhere: bool) -> Resolved:
        support = self.said.get("support")
        helper = support.value if support is not None and isinstance(support.value, str) else None
        subject = f"profile {choice.name}"
        away = None if anywhere else host_problem(self.said)
        if away is not None:
            # Alone: on another host half of what such a profile says cannot hold.
            raise ConfigError(away, subject=subject, support=helper)
        tree, failure = self._completed()
        spec, of_spec = self._spec(tree)
        options, of_options = self._options(tree)
        demanded = list(required_problems(self.said, self.backend, self.others, choice.name))
        told = {problem.path for problem in demanded}
        found = [p for p in (*of_spec, *of_options) if p.path not in told or not p.message.startswith("must be given")]
        known = {(problem.path, problem.origin) for problem in problems}
        problems = [*problems, *(p for p in found if (p.path, p.origin) not in known), *demanded]
        if problems:
            raise ConfigError(problems, subject=subject, support=helper)
        if failure is not None:
            raise failure
        if spec is None or options is None:
            raise AssertionError("a profile without problems has a spec and options")
        origins = origins_in(tree, spec, options, self.backend.name)
        return Resolved(choice.name, self.backend, spec, options, origins)

    def _completed(self) -> tuple[Node, Exception | None]:
        """The tree with the backend's defaults below it, and why there are none, should it fail to say them."""
        supplied, failure = Node({}, "default"), None
        if self.with_defaults:
            try:
                supplied = grafted(self.backend.defaults(self.said.plain()), f"backend {self.backend.name}")
            except Exception as error:  # noqa: BLE001 - raised again, unless what it choked on is told as a problem
                failure = error
        tree = merge(settled(supplied), self.said)
        return lowered(tree, self.said), failure

    def _spec(self, tree: Node) -> tuple[ClusterSpec | None, list[Problem]]:
        own = without(tree, frozenset({self.backend.name}))
        plain = own.plain()
        try:
            return ClusterSpec.model_validate(plain), []
        except ValidationError as error:
            around = Surroundings(self.backend.name, self.backend.options_type, plain)
            return None, problems_of(error, own, ClusterSpec, (), around)

    def _options(self, tree: Node) -> tuple[BaseModel | None, list[Problem]]:
        model, name = self.backend.options_type, self.backend.name
        table = tree.get(name) or Node({}, self.said.origin)
        if table.table is None:
            written = one_line(table.plain(), cut=True) if not isinstance(table.value, str) else None
            return None, [Problem(table.origin, name, f"must be a table of {name}'s options", written)]
        try:
            return model.model_validate(table.plain()), []
        except ValidationError as error:
            around = Surroundings(name, model, tree.plain())
            return None, problems_of(error, table, model, (name,), around)
        except Exception as error:  # noqa: BLE001 - the model is the plugin's, and may fail in any way
            return None, [Problem(table.origin, name, f"cannot be validated: {type(error).__name__}")]
