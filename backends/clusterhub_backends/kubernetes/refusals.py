"""What the refusals of an API server mean: its answers, as errors that say what was wrong and what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clusterhub import BackendUnavailable, ClusterGone, ClusterhubError, SubmitRejected
from clusterhub.profile.secrets import redact_text
from clusterhub_backends.kubernetes.login import Way

DASK = "kubernetes.dask.org"
"""The group of the operator's kinds."""
INSTALL = "helm install --repo https://helm.dask.org --create-namespace -n dask-operator --generate-name dask-kubernetes-operator"
"""How the operator comes into a cluster, its kinds with it."""

DENIED = re.compile(
    r'User "(?P<who>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]*)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]*)")?'
)
"""RBAC's own words for "no"."""
QUOTA = re.compile(
    r"exceeded quota: (?P<name>\S+), requested: (?P<requested>.+), used: (?P<used>.+), limited: (?P<limited>.+)"
)
"""A ResourceQuota's."""
LACKING = re.compile(r"failed quota: (?P<name>[^:]+): must specify (?P<what>.+)")
"""A ResourceQuota's, for what says no requests or limits."""
POLICY = re.compile(
    r"(?:admission webhook \"(?P<webhook>[^\"]+)\" denied the request"
    r"|ValidatingAdmissionPolicy '(?P<policy>[^']+)' with binding '[^']+' denied request)(?:: (?P<why>.*))?",
    re.DOTALL,
)
"""A site's own rules'."""


class Unreachable(BackendUnavailable):
    """The API server does not answer now, and may again."""


class Forbidden(BackendUnavailable):
    """We lack a right: which verb on which resource, and in which namespace."""

    def __init__(self, message: str, *, verb: str = "", resource: str = "") -> None:
        self.verb, self.resource = verb, resource
        super().__init__(message)


class AlreadyThere(SubmitRejected):
    """Something of that name is there already."""


class Conflict(Unreachable):
    """Somebody else changed the same at that moment; or it is another than was meant."""


class NoSuchThing(ClusterGone):
    """What was to be changed is not there (any more)."""


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked of an API server."""

    verb: str
    """As its roles have it: get, list, create, patch, delete."""
    resource: str
    """In the plural, with its part: ``pods/log``."""
    group: str
    namespace: str | None
    """None for what is in no namespace."""
    name: str = ""

    @property
    def what(self) -> str:
        """``daskclusters eddies in namespace ocean``."""
        return " ".join(
            filter(None, (self.resource, self.name, f"in namespace {self.namespace}" if self.namespace else ""))
        )

    @property
    def rule(self) -> str:
        """The rule of a Role that would allow it."""
        return f'apiGroups: ["{self.group}"], resources: ["{self.resource}"], verbs: ["{self.verb}"]'


def error_of(code: int, text: str, asked: Question, way: Way) -> ClusterhubError:
    """The error for an answer of this ``code`` and ``text``."""
    status = _status(text)
    words = redact_text(str(status.get("message") or "")).strip()
    if code == 401:
        return BackendUnavailable(f"{way.place} does not know us (401): {way.renewal}")
    if code in (403, 422, 400) and (match := POLICY.search(words)):
        rule = f"webhook {match['webhook']}" if match["webhook"] else f"policy {match['policy']}"
        why = match["why"] or "no reason given"
        return SubmitRejected(f"the cluster's own rules forbid {asked.what} ({rule}): {why}", source=words)
    if code == 403:
        return _forbidden(words, asked, way)
    if code == 404:
        return _missing(status, words, asked, way)
    if code == 409:
        if status.get("reason") == "AlreadyExists":
            return AlreadyThere(f"there is {asked.what} already", source=words)
        return Conflict(f"{asked.what} is being changed by somebody else too: {words}")
    if code == 422:
        return SubmitRejected(f"{way.place} does not take {asked.what}: {_fields(status) or words}", source=words)
    if code == 429 or code >= 500:
        return Unreachable(f"{way.place} cannot answer now: {code} {words or _page(text)}")
    if not status:
        return no_kubernetes(f"answers {code} {_page(text)}", way)
    return SubmitRejected(f"{way.place} refuses {asked.what} ({code})", source=words)


def no_kubernetes(what: str, way: Way) -> BackendUnavailable:
    """Somebody else answers."""
    return BackendUnavailable(
        f"{way.place} {what}, not as a Kubernetes does; see kubernetes.context and kubernetes.kubeconfig"
    )


def no_operator(way: Way) -> BackendUnavailable:
    """The operator's kinds are unknown there."""
    return BackendUnavailable(
        f"{way.place} has no DaskClusters: Dask's operator is not installed there; whoever administers it runs\n  {INSTALL}"
    )


def _status(text: str) -> Mapping[str, Any]:
    """A ``Status`` of Kubernetes's; empty for any other text."""
    try:
        answer = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) and answer.get("kind") == "Status" else {}


def _forbidden(words: str, asked: Question, way: Way) -> ClusterhubError:
    if match := QUOTA.search(words):
        return SubmitRejected(
            f"the quota {match['name']} of namespace {asked.namespace} is used up: asked for {match['requested']},"
            f" {match['used']} of {match['limited']} in use; end what is not needed, or ask for more",
            source=words,
        )
    if "being terminated" in words:
        return SubmitRejected(f"namespace {asked.namespace} is being deleted; see kubernetes.namespace", source=words)
    if match := DENIED.search(words):
        where = f" in namespace {match['namespace']}" if match["namespace"] else ""
        right = Question(match["verb"], match["resource"], match["group"], match["namespace"])
        kind = "Role" if where else "ClusterRole"
        return Forbidden(
            f"{way.place}: {match['who']} may not {match['verb']} {match['resource']}{where}; ask for a {kind} with\n"
            f"  - {right.rule}\n  or see kubernetes.namespace: is it the right one, and does it exist?",
            verb=match["verb"],
            resource=match["resource"],
        )
    if not words:
        return Forbidden(
            f"{way.place} lets us do nothing (403): {way.renewal}", verb=asked.verb, resource=asked.resource
        )
    return SubmitRejected(f"{way.place} forbids {asked.what}", source=words)


def _missing(status: Mapping[str, Any], words: str, asked: Question, way: Way) -> ClusterhubError:
    kind = (status.get("details") or {}).get("kind")
    if kind == "namespaces":
        return BackendUnavailable(
            f"{way.place} has no namespace {asked.namespace}; see kubernetes.namespace, or make it:"
            f" {way.kubectl} create namespace {asked.namespace}"
        )
    if not status and asked.group == DASK:
        return no_operator(way)
    if not status:
        return no_kubernetes(f"does not know {asked.resource} (404)", way)
    return NoSuchThing(f"{way.place} has no {asked.what} (any more): {words}")


def _fields(status: Mapping[str, Any]) -> str:
    """Which fields are not valid, and why: ``spec.worker: Required value``."""
    causes = (status.get("details") or {}).get("causes") or ()
    told = [f"{cause['field']}: {cause.get('message', '')}" for cause in causes if cause.get("field")]
    return redact_text("; ".join(told))


def _page(text: str) -> str:
    """A short text of no known form; a web page is not shown."""
    text = redact_text(text.strip())
    return "with a web page" if text.startswith("<") else text[:200]
