"""What a cluster will be, and where it is found again: plain data that crosses processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, Field, JsonValue, SerializeAsAny

from clusterhub.spec import ClusterSpec, Frozen
from clusterhub.tls import TlsFiles


class Document(Frozen):
    """One thing that would be sent: a job script, a manifest, a request."""

    title: str
    """``job script``, ``DaskCluster manifest``."""
    text: str
    """Exactly as it would be sent, except that secrets are hidden."""
    language: str = ""
    """What highlights it: ``bash``, ``yaml``, ``json``."""


O = TypeVar("O", bound=BaseModel)  # noqa: E741 - the options of one backend; the name the docs use


class NoOptions(Frozen):
    """For a backend that has no options of its own."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value of a resolved profile."""

    path: str
    """The dotted key: ``worker.memory``, ``pbs.queue``."""
    text: str
    """The value as one would write it, except that secrets are hidden."""
    origin: str
    """``~/.clusterhub.yaml:9``, ``call``, ``backend local``, ``default``."""
    is_default: bool
    """Whether nobody said it: the vocabulary or the backend supplies it."""
    left: bool = False
    """Whether it is left to the system to decide: then ``text`` says so, and there is no value."""


class Plan(Frozen, Generic[O]):
    """What a cluster will be, decided before anything is sent; it is plain data and crosses processes as JSON.

    A backend fills in what it would send. Who asked for it, under which profile, is added by the hub. ``str`` is what a
    person reviews: the summary and the documents, as ``clusterhub plan`` prints them.
    """

    name: str
    backend: str
    spec: ClusterSpec
    options: SerializeAsAny[O]
    summary: str = ""
    documents: tuple[Document, ...] = ()
    profile: str = ""
    """The profile that was asked for; empty where none was."""
    unit_noun: str = "unit"
    """What people call one of its units."""
    values: tuple[Leaf, ...] = ()
    """Every value of the profile with the place it was said, secrets hidden."""
    uid: str = ""
    """Unique among all clusters of all times: what their jobs are named by."""
    named: bool = False
    """Whether a person chose its name: then it outlives its creator by ``lifecycle.linger``, to be found again."""
    kept: bool = False
    """Whether it is to outlive its creator for good."""
    tls: TlsFiles | None = None
    """The keys to use, where the hub has made some: the backend uses these and makes none of its own."""
    dashboard_prefix: str = Field(default="", repr=False)
    """Where not empty: the secret path below which the scheduler serves its dashboard; see ``parts.scheduler_class``."""

    def __str__(self) -> str:
        lines = [self.summary or f"{self.name}: backend {self.backend} says nothing of what it would send"]
        for document in self.documents:
            lines += [f"──── {document.title} ────", document.text.rstrip("\n")]
        return "\n".join(lines)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What IPython and notebooks show of it: a notebook has no terminal for ``clusterhub plan``."""
        printer.text(str(self))


class Ref(Frozen):
    """All that is needed to find a living cluster again; holds no secret and serialises to JSON."""

    backend: str
    name: str
    data: dict[str, JsonValue] = Field(default_factory=dict)
