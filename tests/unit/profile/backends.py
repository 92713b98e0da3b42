"""Backends for these tests: found by the real registry through a distribution of their own, and unable to start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr

from clusterhub.backend import CONTRACT, Backend, Deployment, Feature, NoOptions, Plan
from clusterhub.errors import BackendUnavailable
from clusterhub.spec import ClusterSpec, Frozen, Lines


class _Inert(Backend[Any]):
    contract = CONTRACT
    features = frozenset(Feature)

    def plan(self, name: str, spec: ClusterSpec, options: Any) -> Plan[Any]:
        return Plan(name=name, backend=self.name, spec=spec, options=options)

    async def start(self, plan: Plan[Any]) -> Deployment:
        raise BackendUnavailable("a backend of the tests")


class LocalOptions(Frozen):
    processes: bool = True
    """Workers as processes."""
    preload: Lines = ()


class Local(_Inert):
    name = "local"
    options_type = LocalOptions
    remote = False
    defaults_asked = 0

    def defaults(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        type(self).defaults_asked += 1
        kept = {"lifecycle": {"idle_timeout": "never"}}
        return kept if given.get("workers") is not None else {**kept, "workers": 16}


class PbsOptions(Frozen):
    """What only PBS knows."""

    queue: Annotated[str, Field(min_length=1, examples=["qdev"])] | None = None
    """The queue."""
    account: str | None = None
    """Who pays."""
    priority: Annotated[int, Field(ge=-1024, le=1023)] = 0
    directives: Lines = ()
    mode: Literal["normal", "debug"] = "normal"


class Pbs(_Inert):
    name = "pbs"
    options_type = PbsOptions
    unit_noun = "job"

    def dask_config(self) -> Mapping[str, Any]:
        return {"job": {"walltime": "2h"}, "pbs": {"queue": "from-dask"}}


class Login(Frozen):
    user: str = ""
    pin: SecretStr | None = None


class Toleration(Frozen):
    key: str
    seconds: int = 0


class CloudOptions(Frozen):
    """What only the cloud knows."""

    image: str | None = None
    token: SecretStr | None = None
    opener: SecretStr | None = None
    """A secret whose name does not say so."""
    address: str = ""
    login: Login = Login()
    labels: dict[str, str] = Field(default_factory=dict)
    size: int | str = 1
    tolerations: Annotated[tuple[Toleration, ...], Field(strict=False)] = ()


class Cloud(_Inert):
    name = "cloud"
    options_type = CloudOptions

    def unusable(self) -> str | None:
        return "no context is set in ~/.kube/config"


class Needy(_Inert):
    """A backend with an option that must be given."""

    class Options(Frozen):
        account: str
        """Who pays."""

    name = "needy"
    options_type = Options


class Stubborn(_Inert):
    """A plugin whose every answer fails."""

    name = "stubborn"
    options_type = NoOptions

    def defaults(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        raise RuntimeError("no defaults today")

    def dask_config(self) -> Mapping[str, Any]:
        raise KeyError("jobqueue")

    def unusable(self) -> str | None:
        raise RuntimeError("cannot even say")
