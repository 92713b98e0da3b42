"""The configs that are read: a small one, as people have it, and one of two hundred profiles, as a large site might."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from unittest import mock

from .measuring import Figure, interleaved, took

PROFILES = 200

RESOLVING = """`clusterhub.profile.resolve` of one profile in a config of 200 profiles of 20 lines, from the file to the
validated spec with the origin of every value, against `ruamel.yaml` in pure Python or with its extension, as installed,
reading the same file into plain tables (`YAML(typ="safe").load`). The lines below: the same against PyYAML's loader on
libyaml, the same call in a config of one profile, and what each profile more in the file adds. So the first ratio tells of
the parser more than of us: we compose from libyaml's events too, where PyYAML has it, and the second ratio is the fair one."""

SMALL = """\
default: laptop
profiles:
  laptop:
    backend: local
    workers: 2
  hal:
    backend: pbs
    description: a cluster with PBS
    node: {cores: 24, memory: 120 GiB}
    workers: {minimum: 0, maximum: 200}
    worker: {cores: 4, memory: 16 GiB}
    job: {walltime: 12h}
  hal-big:
    extends: hal
    worker: {memory: 60 GiB}
"""

PROFILE = """\
  profile-{number}:
    backend: local
    description: profile {number} of many, written by hand
    workers:
      minimum: 0
      maximum: {maximum}
    worker:
      cores: 1
      memory: 2 GiB
    environment:
      variables:
        OMP_NUM_THREADS: "1"
        PROJECT: project-{number}
    storage:
      scratch: $TMPDIR
    lifecycle:
      idle_timeout: 1h
    limits:
      workers: {maximum}
    support: support-{number}@example.org
"""


def large(profiles: int) -> str:
    """A config of that many profiles of twenty lines each."""
    return "profiles:\n" + "".join(PROFILE.format(number=n, maximum=2 + n % 7) for n in range(profiles))


@contextmanager
def only_config(text: str) -> Iterator[Path]:
    """Within it ``text`` is the user's config, here and in child processes, and no environment chooses a profile."""
    with tempfile.TemporaryDirectory(prefix="clusterhub-bench-") as folder, mock.patch.dict(os.environ):
        path = Path(folder) / "clusterhub.yaml"
        path.write_text(text)
        os.environ["CLUSTERHUB_CONFIG"] = str(path)
        os.environ.pop("CLUSTERHUB_PROFILE", None)
        yield path


def resolving(pairs: int) -> list[Figure]:
    """One profile of two hundred, against reading the same file with ruamel.yaml and with libyaml."""
    text, single = large(PROFILES), large(1)
    with only_config(text) as many, only_config(single) as one:
        calls = [_resolution(many), _ruamel(many), _resolution(one)]
        if (libyaml := _libyaml(many)) is not None:
            calls.append(libyaml)
        ours, native, alone, *fast = interleaved(calls, pairs)
    each = tuple((all_ - single_) / (PROFILES - 1) for all_, single_ in zip(ours, alone, strict=True))
    return [
        Figure("resolve", ours, native),
        *(Figure("resolve: against libyaml", ours, times) for times in fast),
        Figure("resolve: a config of one", alone),
        Figure("resolve: each profile more", each),
    ]


def _resolution(path: Path) -> Callable[[], float]:
    from clusterhub.profile import resolve

    def resolution() -> float:
        os.environ["CLUSTERHUB_CONFIG"] = str(path)
        return took(lambda: resolve("profile-0", {}))

    return resolution


def _ruamel(path: Path) -> Callable[[], float]:
    from ruamel.yaml import YAML

    return lambda: took(lambda: YAML(typ="safe").load(path))


def _libyaml(path: Path) -> Callable[[], float] | None:
    try:
        yaml = import_module("yaml")  # by name, as it carries no annotations
        loader = yaml.CSafeLoader
    except (ImportError, AttributeError):  # PyYAML comes with dask, but not on every platform with libyaml
        return None
    return lambda: took(lambda: yaml.load(path.read_bytes(), Loader=loader))
