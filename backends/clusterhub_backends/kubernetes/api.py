"""The line to an API server: short questions, answered in seconds or not at all, each trouble in our words."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self

from clusterhub import BackendUnavailable, ClusterhubError, SubmitRejected
from clusterhub.profile.secrets import redact_text
from clusterhub_backends.kubernetes.login import Way, opened, renewed, way
from clusterhub_backends.kubernetes.refusals import (
    DASK,
    AlreadyThere,
    Conflict,
    Forbidden,
    NoSuchThing,
    Question,
    Unreachable,
    error_of,
    no_kubernetes,
)

if TYPE_CHECKING:
    import httpx
    from kr8s.asyncio import Api as Kr8s

__all__ = ["AlreadyThere", "Api", "Forbidden", "NoSuchThing", "Unreachable"]

Json = dict[str, Any]

PATIENCE = 15.0
"""Seconds in which an API server answers."""
LOGIN_PATIENCE = 30.0
"""Seconds for the command that logs in, where the kubeconfig names one."""
CONFLICTS, CONFLICT_PAUSE = 5, 0.2
"""How often a change that met another one is tried, and seconds between: two that count on the same quota, for example."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object, as its addresses have it."""

    name: str
    group: str
    version: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As manifests have it."""
        return f"{self.group}/{self.version}" if self.group else self.version


KINDS: Mapping[str, Kind] = {
    "daskclusters": Kind("DaskCluster", DASK, "v1"),
    "daskworkergroups": Kind("DaskWorkerGroup", DASK, "v1"),
    "daskautoscalers": Kind("DaskAutoscaler", DASK, "v1"),
    "secrets": Kind("Secret", "", "v1"),
    "pods": Kind("Pod", "", "v1"),
    "events": Kind("Event", "", "v1"),
    "services": Kind("Service", "", "v1"),
    "serviceaccounts": Kind("ServiceAccount", "", "v1"),
    "resourcequotas": Kind("ResourceQuota", "", "v1"),
    "limitranges": Kind("LimitRange", "", "v1"),
    "configmaps": Kind("ConfigMap", "", "v1"),
    "persistentvolumeclaims": Kind("PersistentVolumeClaim", "", "v1"),
    "namespaces": Kind("Namespace", "", "v1", namespaced=False),
    "deployments": Kind("Deployment", "apps", "v1"),
    "priorityclasses": Kind("PriorityClass", "scheduling.k8s.io", "v1", namespaced=False),
    "customresourcedefinitions": Kind("CustomResourceDefinition", "apiextensions.k8s.io", "v1", namespaced=False),
    "selfsubjectaccessreviews": Kind("SelfSubjectAccessReview", "authorization.k8s.io", "v1", namespaced=False),
}
"""What is asked for, by its name in addresses and roles."""


class Api:
    """One API server, asked as one user about one namespace. Made by :meth:`of` on the event loop that uses it.

    It shares nothing with any other, and survives outages by itself. Every question raises BackendUnavailable where the server
    cannot be used (Forbidden where only a right is lacking), Unreachable where it does not answer now, SubmitRejected where it
    refuses what is asked, NoSuchThing where that is not there.
    """

    def __init__(self, line: Kr8s, found: Way) -> None:
        self._line = line
        self._retired: list[Kr8s] = []
        self._way = found
        self._renewing = asyncio.Lock()
        self._renewals = 0
        self._ahead = timedelta()
        self._closed = False

    @classmethod
    async def of(cls, kubeconfig: str | None, context: str | None, namespace: str | None) -> Self:
        """The line that these options describe; None is what kubectl would take. Asks the server nothing yet."""
        found = way(kubeconfig, context, namespace)
        return cls(await _in_time(opened(found), found), found)

    @property
    def namespace(self) -> str:
        """The namespace that all questions are about."""
        return self._way.namespace

    @property
    def place(self) -> str:
        """The server as people call it: ``context gke-ocean of ~/.kube/config``."""
        return self._way.place

    @property
    def kubectl(self) -> str:
        """kubectl as it would ask the same server, for what people are told to do."""
        return self._way.kubectl

    @property
    def server(self) -> str:
        """The address of the server."""
        return self._line.auth.server

    @property
    def in_cluster(self) -> bool:
        """Whether we are a pod of that very Kubernetes, as far as our login tells."""
        return self._way.context is None

    @property
    def kr8s(self) -> Kr8s:
        """kr8s's own object, for what is more than a question, as a tunnel. After a new login it may be another."""
        return self._line

    @property
    def now(self) -> datetime:
        """The time as the server's clock has it, to a second: all times that it tells are of that clock."""
        return datetime.now(UTC) + self._ahead

    # Questions

    async def version(self) -> str:
        """The version of the server: ``v1.34.2``."""
        asked = Question("get", "version", "", None)
        answer = await self._json(asked, "GET", base="/version", version="", url="")
        if not isinstance(answer, Mapping) or "gitVersion" not in answer:
            raise no_kubernetes("answers", self._way)
        return str(answer["gitVersion"])

    async def dask_version(self) -> str:
        """The version of the kinds of Dask's operator, as ``v1``. Raises BackendUnavailable where they are not there."""
        asked = Question("get", "", DASK, None)
        answer = await self._json(asked, "GET", base=f"/apis/{DASK}", version="", url="")
        preferred = answer.get("preferredVersion") if isinstance(answer, Mapping) else None
        if not isinstance(preferred, Mapping):
            raise no_kubernetes("answers", self._way)
        return str(preferred.get("version"))

    async def get(self, kind: str, name: str) -> Json | None:
        """The object of that name, or None."""
        try:
            return await self._object("get", "GET", kind, name)
        except NoSuchThing:
            return None

    async def list(
        self,
        kind: str,
        *,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        everywhere: bool = False,
    ) -> Sequence[Json]:
        """All of a kind that have these labels and fields; with ``everywhere`` those of all namespaces.

        In a namespace that does not exist there are none.
        """
        params = {
            name: ",".join(f"{key}={value}" for key, value in said.items())
            for name, said in (("labelSelector", labels), ("fieldSelector", fields))
            if said
        }
        answer = await self._object("list", "GET", kind, params=params, everywhere=everywhere)
        items = answer.get("items")
        if not isinstance(items, list):
            raise no_kubernetes("answers", self._way)
        return items

    async def create(self, kind: str, body: Mapping[str, Any], *, dry_run: bool = False) -> Json:
        """Make it, or with ``dry_run`` hear what would become of it. Raises AlreadyThere where its name is taken."""
        full = {"apiVersion": KINDS[kind].api_version, "kind": KINDS[kind].name, **body}
        name = str((body.get("metadata") or {}).get("name", ""))
        # Strict: the server would drop fields that it does not know, and say nothing.
        params = {"fieldValidation": "Strict", **({"dryRun": "All"} if dry_run else {})}
        return await self._object("create", "POST", kind, name, content=json.dumps(full), params=params)

    async def patch(self, kind: str, name: str, changes: Mapping[str, Any]) -> Json:
        """Merge ``changes`` into it; what they set to None is gone afterwards. Raises NoSuchThing.

        Where they name a ``resourceVersion``, it raises Conflict for one that has changed since.
        """
        headers = {"content-type": "application/merge-patch+json"}
        once = "resourceVersion" in (changes.get("metadata") or {})
        return await self._object("patch", "PATCH", kind, name, once=once, content=json.dumps(changes), headers=headers)

    async def delete(
        self, kind: str, name: str, *, uid: str | None = None, version: str | None = None, wait: bool = False
    ) -> bool:
        """Have it ended, and all that it owns after it, or with ``wait`` before it: it is seen until then.

        With a ``uid`` only that very one, and none that has its name since. With a ``version`` only as it was then: raises
        Conflict where it has changed. Returns whether there was one.
        """
        options: Json = {"propagationPolicy": "Foreground" if wait else "Background"}
        said = {"uid": uid, "resourceVersion": version}
        if conditions := {key: text for key, text in said.items() if text is not None}:
            options["preconditions"] = conditions
        try:
            await self._object("delete", "DELETE", kind, name, once=True, content=json.dumps(options))
        except NoSuchThing:
            return False
        except Conflict:
            if uid is None or version is not None:
                raise
            return False  # what has the name now is another one
        return True

    async def logs(
        self, pod: str, *, container: str | None = None, previous: bool = False, lines: int | None = None
    ) -> str | None:
        """What a pod has written, or its container before the last restart; None where there is nothing (any more)."""
        asked = Question("get", "pods/log", "", self.namespace, pod)
        params: Json = {"container": container, "previous": previous or None, "tailLines": lines}
        params = {key: str(value).lower() for key, value in params.items() if value is not None}
        try:
            answer = await self._ask(
                asked, "GET", version="v1", namespace=self.namespace, url=f"pods/{pod}/log", params=params
            )
        except NoSuchThing:
            return None
        except SubmitRejected as refused:
            if "container name must be specified" in refused.source:
                raise
            return None  # it waits to start, or there was none before
        # By the kubelet, with status 200, for a container that it has just removed.
        return None if answer.text.startswith("unable to retrieve container logs for ") else answer.text

    async def may(self, verb: str, kind: str, part: str = "") -> bool:
        """Whether we have that right here; ``part`` as in ``pods/log``. Anybody may ask that."""
        where: Json = {"verb": verb, "group": KINDS[kind].group, "resource": kind, "subresource": part}
        if KINDS[kind].namespaced:
            where["namespace"] = self.namespace
        body = {"spec": {"resourceAttributes": where}}
        answer = await self.create("selfsubjectaccessreviews", body)
        return bool((answer.get("status") or {}).get("allowed"))

    async def close(self) -> None:
        """Hang up. Idempotent."""
        self._closed = True
        for line in (self._line, *self._retired):
            if (session := line._session) is not None:  # kr8s has no public way
                await session.aclose()

    # How they are asked

    async def _object(
        self,
        verb: str,
        method: str,
        kind: str,
        name: str = "",
        *,
        everywhere: bool = False,
        once: bool = False,
        **how: Any,
    ) -> Json:
        of = KINDS[kind]
        namespace = self.namespace if of.namespaced and not everywhere else None
        asked = Question(verb, kind, of.group, namespace, name)
        url = f"{kind}/{name}" if name and method != "POST" else kind
        for _retry in range(0 if once else CONFLICTS):
            try:
                return await self._mapping(asked, method, version=of.api_version, namespace=namespace, url=url, **how)
            except Conflict:
                await asyncio.sleep(CONFLICT_PAUSE)
        return await self._mapping(asked, method, version=of.api_version, namespace=namespace, url=url, **how)

    async def _mapping(self, asked: Question, method: str, **how: Any) -> Json:
        answer = await self._json(asked, method, **how)
        if not isinstance(answer, dict):
            raise no_kubernetes("answers", self._way)
        return answer

    async def _json(self, asked: Question, method: str, **how: Any) -> Any:
        answer = await self._ask(asked, method, **how)
        try:
            return answer.json()
        except ValueError as error:
            raise no_kubernetes("answers", self._way) from error

    async def _ask(self, asked: Question, method: str, **how: Any) -> httpx.Response:
        """Its answer, after a new login where it does not know us any more: tokens are short-lived, and renewed on disk."""
        renewals = self._renewals
        answer = await self._once(method, **how)
        if answer.status_code == 401:
            await self._renew(renewals)
            answer = await self._once(method, **how)
        if answer.is_error:
            raise error_of(answer.status_code, answer.text, asked, self._way)
        return answer

    async def _renew(self, seen: int) -> None:
        """Log in again, once for all that were refused at the same time."""
        async with self._renewing:
            if self._renewals == seen:
                line = await _in_time(renewed(self._line, self._way), self._way)
                if line is not self._line:
                    self._retired.append(self._line)
                    self._line = line
                self._renewals += 1

    async def _once(self, method: str, **how: Any) -> httpx.Response:
        if self._closed:
            raise ClusterhubError(f"the line to {self.place} has been closed")  # kr8s would open another
        # Not with its errors: for each 401 or 403 it would log in three more times, and close the session for all others.
        async with self._translated(), self._line.call_api(method, raise_for_status=False, **how) as answer:
            self._hear_time(answer.headers.get("date"))
            return answer

    def _hear_time(self, date: str | None) -> None:
        try:
            said = parsedate_to_datetime(date or "")
        except ValueError:
            return
        # The header is cut to a second; what differs by no more is the same.
        ahead = said - datetime.now(UTC)
        self._ahead = timedelta() if timedelta(seconds=-2) < ahead < timedelta(seconds=1) else ahead

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        """Whatever can go wrong on the way becomes an error of ours that says what it was."""
        import httpx
        from kr8s import APITimeoutError

        try:
            async with asyncio.timeout(PATIENCE):
                yield
        except (TimeoutError, APITimeoutError) as error:
            raise Unreachable(f"{self.place} ({self.server}) did not answer within {PATIENCE:g} s") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise BackendUnavailable(f"{self.place} names {self.server} as its server: {error}") from error
        except (httpx.HTTPError, OSError) as error:
            if (distrust := _distrust(error)) is not None:
                raise BackendUnavailable(f"{self.place} ({self.server}) {distrust}") from error
            reason = redact_text(str(error)).strip() or type(error).__name__
            raise Unreachable(f"{self.place} ({self.server}) cannot be reached: {reason}") from error


async def _in_time(login: Coroutine[Any, Any, Kr8s], found: Way) -> Kr8s:
    import anyio

    try:
        # Not asyncio's: told once, anyio waits for the command to end by itself, as long as that may take.
        with anyio.fail_after(LOGIN_PATIENCE):
            return await login
    except TimeoutError as error:
        who = found.command or "reading the kubeconfig"
        raise BackendUnavailable(
            f"{found.place}: {who} did not end within {LOGIN_PATIENCE:g} s; does it ask for something? {found.renewal}"
        ) from error


def _distrust(error: BaseException) -> str | None:
    """What is wrong with the server's certificate, where that is the trouble."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"cannot be trusted: {cause.verify_message or cause}; its authority is certificate-authority in the kubeconfig"
        if isinstance(cause, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(cause):
            return "does not speak https; is the address of its server in the kubeconfig right?"
        cause = cause.__cause__ or cause.__context__
    return None
