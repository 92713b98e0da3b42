"""What only a dask-gateway knows: the table ``gateway:`` of a profile."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, SecretStr, field_serializer, model_validator

from clusterhub import Frozen
from clusterhub.profile.secrets import HIDDEN, is_secret_name, redact_text

MEMORY_UNITS: Mapping[str, int] = {
    "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
TIME_UNITS: Mapping[str, int] = {"s": 1, "m": 60, "h": 3600}
Unit = Literal["B", "kB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB", "s", "m", "h"]
Wish = Literal[
    "worker.cores",
    "worker.memory",
    "worker.threads",
    "worker.gpus",
    "environment.variables",
    "lifecycle.idle_timeout",
    "gateway.image",
]
"""What can be said in our words, and a gateway may have an option for."""
Name = Annotated[str, Field(min_length=1)]


def _without_password(address: str) -> str:
    if "@" in address.partition("://")[2].partition("/")[0]:
        raise ValueError("addresses are shown to people; whose name and password it is belongs into gateway.auth")
    return address


Url = Annotated[
    str,
    Field(pattern=r"^https?://[^\s/]+(/\S*)?$", examples=["https://hub.example.org/services/dask-gateway"]),
    AfterValidator(_without_password),
]
Link = Annotated[
    str,
    Field(pattern=r"^(https?://[^\s/]+(/\S*)?|/\S*)$", examples=["/services/dask-gateway/"]),
    AfterValidator(_without_password),
]


class Secret:
    """Where a secret is read: it is looked up late, and shown nowhere."""

    def __init__(self, given: SecretStr | None, variable: str | None, file: str | None, key: str) -> None:
        self._given = given
        self._variable = variable
        self._file = file
        self._key = key

    def read(self) -> str | None:
        """The secret, or None where nobody says any. Raises LookupError with what is missing, and which key asks for it."""
        if self._given is not None:
            return self._given.get_secret_value()
        if self._variable is not None:
            if self._variable not in os.environ:
                raise LookupError(f"{self._key}_variable names {self._variable}, which is not set in this environment")
            return os.environ[self._variable]
        if self._file is not None:
            return self._in_file(Path(os.path.expandvars(self._file)).expanduser())
        return None

    def _in_file(self, path: Path) -> str:
        try:
            secret = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise LookupError(f"{self._key}_file names {path}, which cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise LookupError(f"{self._key}_file names {path}, which holds no text") from error
        if not secret:
            raise LookupError(f"{self._key}_file names {path}, which is empty")
        return secret


class Auth(Frozen):
    """As whom the gateway is asked. A mere text is the type."""

    type: Annotated[Name, Field(examples=["jupyterhub"])] = "basic"
    """``basic``, ``jupyterhub``, ``kerberos``, or the dotted name of a class of dask_gateway's ``GatewayAuth``."""
    username: Annotated[Name, Field(examples=["ann"])] | None = None
    """For basic; by default the name of the user here."""
    password_variable: Annotated[Name, Field(examples=["GATEWAY_PASSWORD"])] | None = None
    """For basic: the environment variable that holds the password."""
    password_file: Annotated[Name, Field(examples=["~/.gateway-password"])] | None = None
    """For basic: the file that holds the password, and nothing else."""
    password: SecretStr | None = None
    """For basic. Better in a variable, or in a file that only you can read."""
    token_variable: Annotated[Name, Field(examples=["JUPYTERHUB_API_TOKEN"])] | None = None
    """For jupyterhub: the environment variable that holds the token; by default ``JUPYTERHUB_API_TOKEN``."""
    token_file: Annotated[Name, Field(examples=["~/.hub-token"])] | None = None
    """For jupyterhub: the file that holds the token, and nothing else."""
    token: SecretStr | None = None
    """For jupyterhub. Better in a variable, or in a file that only you can read."""
    arguments: Annotated[dict[str, SecretStr], Field(examples=[{"realm": "science"}])] = Field(default_factory=dict)
    """For a class of a plugin: its arguments. Any of them may be a secret, so none is shown."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return {"type": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _of_its_type(self) -> Self:
        own = {"basic": ("username", "password"), "jupyterhub": ("token",), "kerberos": ()}.get(
            self.type, ("arguments",)
        )
        for field in sorted(self.model_fields_set - {"type"}):
            if getattr(self, field) and not field.startswith(own):
                raise ValueError(f"{field} says nothing to {self.type}; leave it out, or set another type")
        for what in ("password", "token"):
            said = [key for key in (f"{what}_variable", f"{what}_file", what) if getattr(self, key) is not None]
            if len(said) > 1:
                raise ValueError(f"{' and '.join(said)} say the same thing; keep one of them")
        if self.type not in ("basic", "jupyterhub", "kerberos") and "." not in self.type:
            raise ValueError("type must be basic, jupyterhub, kerberos, or the dotted name of a class")
        return self

    @property
    def secret(self) -> Secret:
        """The password or the token."""
        if self.type == "jupyterhub":
            return Secret(self.token, self.token_variable, self.token_file, "gateway.auth.token")
        return Secret(self.password, self.password_variable, self.password_file, "gateway.auth.password")


class Mapped(Frozen):
    """The gateway's own option for one of our words. A mere text is its name, ``false`` is none."""

    option: Annotated[Name, Field(examples=["worker_memory"])] | None
    """Its name there; null where none stands for the word, whatever it is called."""
    unit: Annotated[Unit, Field(examples=["GiB"])] | None = None
    """What its numbers count; by default what its label says, else GiB for memory and seconds for times."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        if value is False:
            return {"option": None}  # a mere null would take back what a weaker layer says of the word
        return {"option": value} if isinstance(value, str) else value


def _map(value: object) -> object:
    """``worker: {memory: ram}`` is as good as ``worker.memory: ram``, since it is how profiles are written."""
    if not isinstance(value, Mapping):
        return value
    flat: dict[Any, Any] = {}
    for key, below in value.items():
        if isinstance(below, Mapping) and "option" not in below and isinstance(key, str) and "." not in key:
            flat |= {f"{key}.{name}": each for name, each in below.items()}
        else:
            flat[key] = below
    return flat


class GatewayOptions(Frozen):
    """What only a dask-gateway knows."""

    address: Url | None = None
    """Where the gateway answers, as its users are told: with the path that it may have below a hub."""
    proxy_address: Annotated[str | int, Field(examples=["tls://hub.example.org:8786", 8786])] | None = None
    """Where schedulers are reached, or the port on the same host; by default the host and port of ``address``."""
    public_address: Link | None = None
    """What links to dashboards begin with, where browsers know the gateway by another address than programs; a mere path
    belongs to the page that shows the link."""
    auth: Auth = Auth()
    ca_file: Annotated[Name, Field(examples=["/etc/ssl/site-ca.pem"])] | None = None
    """The certificates to trust for ``https``, where the gateway's is signed by an authority of the site's own."""
    http_proxy: Annotated[bool | str, Field(examples=[False], repr=False)] = True
    """Whether ``HTTP_PROXY`` and the like are minded, or the address of a proxy to use."""
    image: Annotated[Name, Field(examples=["pangeo/pangeo-notebook:2026.11.01"])] | None = None
    """The container image of scheduler and workers, where the gateway lets one choose."""
    options: Annotated[dict[str, JsonValue], Field(examples=[{"profile": "small"}])] = Field(
        default_factory=dict, repr=False
    )
    """Options of the gateway's own, by their names there."""
    map: Annotated[
        dict[Wish, Mapped],
        BeforeValidator(_map),
        Field(examples=[{"worker.memory": {"option": "ram", "unit": "MiB"}}]),
    ] = Field(default_factory=dict)
    """Which option of the gateway stands for which of our words, where it has no usual name; false: none does."""

    @field_serializer("http_proxy", when_used="json")
    def _proxy_without_password(self, value: bool | str) -> bool | str:
        return redact_text(value) if isinstance(value, str) else value

    @field_serializer("options", when_used="json")
    def _options_without_secrets(self, value: dict[str, JsonValue]) -> Any:
        return {name: without_secrets(name, below) for name, below in value.items()}


def without_secrets(name: str, value: Any) -> Any:
    """The value of that name as it may be shown: what names say is a secret is hidden, at any depth."""
    if is_secret_name(name):
        return HIDDEN
    if isinstance(value, Mapping):
        return {key: without_secrets(str(key), below) for key, below in value.items()}
    return [without_secrets(name, below) for below in value] if isinstance(value, list) else value
