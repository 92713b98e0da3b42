"""`KubernetesDeployment`: one cluster on Kubernetes, a DaskCluster that Dask's operator brings about and keeps."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

from clusterhub import (
    BackendUnavailable,
    ClusterGone,
    ClusterhubError,
    Failure,
    Plan,
    Ref,
    Unit,
    Workers,
    WorkersFailed,
)
from clusterhub.elsewhere import ElsewhereDeployment, Fate, Stage, plan_from, uninterrupted
from clusterhub.parts import Line
from clusterhub_backends.kubernetes.api import AlreadyThere, Api, Unreachable
from clusterhub_backends.kubernetes.ending import delete_secret, ended
from clusterhub_backends.kubernetes.evidence import with_log
from clusterhub_backends.kubernetes.keys import Keys
from clusterhub_backends.kubernetes.manifest import (
    KEPT_LABEL,
    PLAN_ANNOTATION,
    autoscaler_manifest,
    cluster_manifest,
    labels_of,
    needs_secret,
    outside_manifest,
    outside_name,
    remembered,
    secret_manifest,
    secret_name,
    secret_variables,
)
from clusterhub_backends.kubernetes.objects import CLUSTER, COMPONENT, is_going, is_ready
from clusterhub_backends.kubernetes.options import KubernetesOptions
from clusterhub_backends.kubernetes.pods import cause_of, scheduler_trouble, units_of
from clusterhub_backends.kubernetes.refusals import Conflict
from clusterhub_backends.kubernetes.route import Route
from clusterhub_backends.kubernetes.starter import NOBODY, gone, ourselves, starter_of, us
from clusterhub_backends.kubernetes.template import KEY, is_encrypted
from clusterhub_backends.kubernetes.user import user

logger = logging.getLogger(__name__)
T = TypeVar("T")

OPERATOR_PATIENCE = 25.0
"""Seconds in which an operator that runs has begun with a new DaskCluster."""
END_PATIENCE = 15.0
"""Seconds that one waits for all of a cluster to be gone."""
LOG_LINES = 500
LOOK = 0.25
"""Seconds between two looks at a scheduler that starts."""
BALANCER_PATIENCE = 180.0
"""Seconds that a cloud may take to give a LoadBalancer its address."""


class KubernetesDeployment(ElsewhereDeployment):
    """A living cluster on Kubernetes; made by :meth:`start` or :meth:`attached`."""

    def __init__(self, api: Api, plan: Plan[KubernetesOptions], keys: Keys | None) -> None:
        super().__init__(plan)
        self.system = api.place
        self._api = api
        self._name = plan.name
        self._keys = keys
        self._uid = ""
        """Of the DaskCluster, once there is one."""
        self._starter = False
        """Whether somebody is still written down as who needs it, for want of a caretaker."""
        self._pod: Mapping[str, Any] = {}
        self._route: Route | None = None
        self._connected_once: set[str] = set()

    # Coming to be

    @classmethod
    async def start(cls, plan: Plan[KubernetesOptions]) -> Self:
        """A new cluster as planned; returns once its scheduler runs. If it raises, or is cancelled, nothing of it is left."""
        spec, options = plan.spec, plan.options
        keys = Keys.made(plan.name) if is_encrypted(spec) else None
        api = await Api.of(options.kubeconfig, options.context, options.namespace)
        deployment = cls(api, plan, keys)
        try:
            await deployment._create()
            await deployment._begin()
        except BaseException:
            await asyncio.shield(deployment._give_up())
            raise
        return deployment

    async def _give_up(self) -> None:
        """Remove what was made so far. Why that was all is told already: this only says what it could not remove."""
        try:
            await self.close()
        except ClusterhubError as error:
            logger.warning("clusterhub: %s", error)

    async def _create(self) -> None:
        """The DaskCluster, then the Secret that it owns, which is there long before the first pod asks for it."""
        plan, options = self._plan, self._plan.options
        uid, who, secret = plan.uid or uuid.uuid4().hex, user(), needs_secret(plan.spec, options)
        manifest = cluster_manifest(
            plan.name,
            plan.spec,
            options,
            uid=uid,
            user=who,
            profile=plan.profile,
            named=plan.named,
            kept=plan.kept,
            secret=secret_name(plan.name) if secret else None,
            plan=remembered(plan),
            starter=ourselves(),
        )
        made = await uninterrupted(self._api.create("daskclusters", manifest), self._undo)
        self._uid = str(made["metadata"]["uid"])
        self._started = datetime.fromisoformat(made["metadata"]["creationTimestamp"]).astimezone(UTC)
        self._starter = True
        if (outside := outside_manifest(plan.name, options, uid=uid, user=who, owner=self._uid)) is not None:
            await self._create_anew("services", outside)
        if secret:
            keys = self._keys or Keys("", "", "")
            variables = secret_variables(plan.spec, options)
            body = secret_manifest(
                plan.name,
                uid=uid,
                user=who,
                ca=keys.ca,
                cert=keys.cert,
                key=keys.key,
                variables=variables,
                owner=self._uid,
            )
            await self._create_anew("secrets", body)

    async def _create_anew(self, kind: str, body: Mapping[str, Any]) -> None:
        try:
            await self._api.create(kind, body)
        except AlreadyThere:  # of a cluster of that name that has just ended: ours could not be made if it lived
            await self._api.delete(kind, str(body["metadata"]["name"]))
            await self._api.create(kind, body)

    async def _undo(self, made: Mapping[str, Any]) -> None:
        await self._api.delete("daskclusters", self._name, uid=str(made["metadata"]["uid"]), wait=True)

    async def _begin(self) -> None:
        await self._scheduler_up()
        await self._find_way()
        workers = self._plan.spec.workers
        try:
            await self.introduce(kept=self._plan.kept, ours=True)
            await self._has_begun()
        except ClusterGone as over:
            await self.raise_its_end(over)
        if workers.adapts:
            await self._range(workers)
        self.begin_to_watch()

    async def _has_begun(self) -> None:
        """From now on its caretaker ends it. One that has none, and is to end with us, stays marked as needed by us."""
        if self._starter and (self.scheduler.attended or self._plan.named or self._kept):
            await self._needed_by_nobody_alone()

    async def _needed_by_nobody_alone(self, **more: Any) -> None:
        await self._api.patch("daskclusters", self._name, {"metadata": {**NOBODY["metadata"], **more}})
        self._starter = False

    async def _scheduler_up(self) -> None:
        """Return once its pod is ready. Raises WorkersFailed with the cause where it cannot start, within half a minute."""
        began = time.monotonic()
        while True:
            pods = await self._pods("scheduler")
            if ready := [pod for pod in pods if is_ready(pod)]:
                self._pod = ready[0]
                return
            events = await self._api.list("events") if time.monotonic() - began > 2 else ()
            deployments = await self._api.list("deployments", labels={CLUSTER: self._name, COMPONENT: "scheduler"})
            failure = scheduler_trouble(pods, deployments, events, self._api.now)
            if failure is not None:
                failure = await with_log(self._api, failure, pods)
                raise WorkersFailed(failure, cluster=self._name, support=self._plan.spec.support)
            if not deployments and time.monotonic() - began > OPERATOR_PATIENCE:
                raise BackendUnavailable(
                    f"{self._api.place} took the DaskCluster, and nobody acts on it: Dask's operator does not run there, or not"
                    f" for namespace {self._api.namespace}, or hears of nothing any more\n  next  {self._api.kubectl} get pods -A"
                    " -l app.kubernetes.io/name=dask-kubernetes-operator; where there is one, delete it, and it starts anew;"
                    " where there is none: helm install --repo https://helm.dask.org --create-namespace -n dask-operator"
                    " --generate-name dask-kubernetes-operator"
                )
            await asyncio.sleep(LOOK)

    async def _find_way(self) -> None:
        from clusterhub_backends.kubernetes.caretaker import KubernetesCaretaker

        service, outside = await asyncio.gather(
            self._api.get("services", f"{self._name}-scheduler"), self._outside_service()
        )
        if service is None:
            raise ClusterGone(f"the scheduler of {self._name} has no Service", final=False)
        security = self._keys.security() if self._keys is not None else None
        self._route = await Route.to(self._api, self._pod, service, outside, security, self._plan.options.route)
        self._line = Line(self._route.address(self._keys is not None), security, KubernetesCaretaker)

    async def _outside_service(self) -> Mapping[str, Any] | None:
        """Where there is one; and where that is the only way to the scheduler, once it has its address."""
        deadline = time.monotonic() + BALANCER_PATIENCE
        while True:
            service = await self._api.get("services", outside_name(self._name))
            if service is None or service["spec"]["type"] != "LoadBalancer" or self._plan.options.route != "direct":
                return service
            if service.get("status", {}).get("loadBalancer", {}).get("ingress") or time.monotonic() > deadline:
                return service
            await asyncio.sleep(4 * LOOK)

    @classmethod
    async def attached(cls, ref: Ref, options: KubernetesOptions, plain: Plan[KubernetesOptions]) -> Self:
        """The living cluster behind ``ref``; ``plain`` is the plan where nobody remembers one. Raises ClusterGone."""
        api = await Api.of(
            options.kubeconfig, options.context, str(ref.data.get("namespace") or "") or options.namespace
        )
        deployment: Self | None = None
        try:
            deployment = cls(api, plain, None)
            deployment._name, deployment._holds = str(ref.data["cluster"]), False
            cluster = await deployment._cluster()
            if cluster is None or is_going(cluster):
                raise ClusterGone(f"there is no cluster {deployment._name} in namespace {api.namespace} of {api.place}")
            await deployment._remember(cluster)
            await deployment._take_over(cluster)
            await deployment._scheduler_up()
            await deployment._find_way()
            # One of ours has none where its maker was killed before it had met its scheduler.
            ours = PLAN_ANNOTATION in cluster["metadata"].get("annotations", {})
            await deployment.introduce(kept=deployment._plan.kept if ours else True, ours=ours)
            deployment.recall()
            await deployment._has_begun()
            await deployment.seen()
        except BaseException:
            if deployment is not None:
                await deployment.close(shutdown=False)
            raise
        deployment.begin_to_watch()
        return deployment

    async def _remember(self, cluster: Mapping[str, Any]) -> None:
        metadata = cluster["metadata"]
        self._uid = str(metadata["uid"])
        self._started = datetime.fromisoformat(metadata["creationTimestamp"]).astimezone(UTC)
        if text := metadata.get("annotations", {}).get(PLAN_ANNOTATION):
            import json

            plan = plan_from(json.loads(text), KubernetesOptions)
            self._plan = plan.model_copy(update={"options": self._plan.options})
        self._starter = starter_of(cluster) is not None
        secret = await self._api.get("secrets", secret_name(self._name))
        if secret is not None and KEY in secret.get("data", {}):
            self._keys = Keys.of(secret)

    async def _take_over(self, cluster: Mapping[str, Any] | None) -> None:
        """One whose starter was killed is ours now, before anybody ends it as an orphan. Raises ClusterGone where there is none
        any more, or it never came so far that anything of it could run."""
        while cluster is not None and not is_going(cluster) and gone(cluster):
            if self._keys is None and needs_secret(self._plan.spec, self._plan.options):
                await self.stop()
                raise ClusterGone(f"cluster {self._name} is gone: {gone(cluster)}, and before it had any keys")
            try:
                await self._api.patch("daskclusters", self._name, us(cluster["metadata"]["resourceVersion"]))
                return
            except Conflict:  # the operator has just written something down; or it has been ended as an orphan
                await asyncio.sleep(LOOK)
                cluster = await self._cluster()
        if cluster is None or is_going(cluster):
            raise ClusterGone(f"cluster {self._name} is gone: it has just been ended")

    # What it is

    @property
    def own_name(self) -> str:
        """The DaskCluster's."""
        return self._name

    @property
    def ref(self) -> Ref:
        """The namespace, and the DaskCluster's name there."""
        data: dict[str, Any] = {"server": self._api.server, "namespace": self._api.namespace, "cluster": self._name}
        return Ref(backend=self._plan.backend, name=self._plan.name, data=data)

    @property
    def dashboard_link(self) -> str:
        """The scheduler's own, where its address can be reached from here; a forwarded port would be open to all on this host."""
        if self._route is None or not self._route.inside:
            return ""
        return f"http://{self._route.host}:8787/status"

    # What it is told

    async def keep(self) -> None:
        """As everywhere; and whoever lists clusters sees it."""
        await super().keep()
        await self.answered(self._needed_by_nobody_alone(labels={KEPT_LABEL: "true"}))

    async def hold(self) -> None:
        """As everywhere. Of several who need one that has no caretaker, the end of one proves nothing."""
        await super().hold()
        if self._starter:
            await self.answered(self._needed_by_nobody_alone())

    async def aim(self, workers: Workers) -> None:
        """The caretaker first, so that it lets go whom the operator then asks for; then the operator."""
        if self.scheduler.attended:
            await self.answered(self.scheduler.tell("aim", minimum=workers.minimum, maximum=workers.maximum))
        await self.answered(self._range(workers) if workers.adapts else self._number(workers.minimum))

    async def _range(self, workers: Workers) -> None:
        body = autoscaler_manifest(self._name, workers.minimum, workers.maximum, labels=self._labels, owner=self._uid)
        try:
            await self._api.create("daskautoscalers", body)
        except AlreadyThere:
            await self._api.patch("daskautoscalers", self._name, {"spec": body["spec"]})

    async def _number(self, n: int) -> None:
        await self._api.delete("daskautoscalers", self._name)
        await self._trim(n)
        # The group, not the DaskCluster: the operator acts on changes alone, and adaptation changes only the group.
        await self._api.patch("daskworkergroups", f"{self._name}-default", {"spec": {"worker": {"replicas": n}}})

    async def _trim(self, n: int) -> None:
        """Remove workers that have not connected, before any that have are asked to leave."""
        deployments = await self._deployments()
        if len(deployments) <= n:
            return
        connected = set((await self.scheduler.link.names()).values())
        waiting = [name for name in deployments if name not in connected]
        for name in waiting[: len(deployments) - n]:
            await self._api.delete("deployments", name)
        if self.scheduler.attended or len(deployments) - len(waiting) <= n:
            return
        await self._let_go(len(deployments) - len(waiting) - n)

    async def _let_go(self, n: int) -> None:
        """Without a caretaker the operator would remove the newest, with their results: retire and remove them ourselves."""
        leaving = await self.scheduler.link.workers_to_close(n)
        names = await self.scheduler.link.names()
        for address in await self.scheduler.link.retire(leaving):
            await self._api.delete("deployments", names[address])

    @property
    def _labels(self) -> Mapping[str, str]:
        return labels_of(self._name, self._plan.uid, user())

    # What it tells

    async def seen(self) -> tuple[Sequence[Unit], Failure | None]:
        """Its pods, joined with the scheduler's workers, and with what Kubernetes says of those that do not come."""
        workers, stays, wanted = await self._workers()
        pods = await self.answered(self._pods("worker"))
        names = {each: address for address, each in workers.items()}
        events: Sequence[Mapping[str, Any]] = ()
        deployments: Sequence[Mapping[str, Any]] = ()
        if len(names) < max(wanted, len(pods)):
            labels = {CLUSTER: self._name, COMPONENT: "worker"}
            events = await self.answered(self._api.list("events"))
            deployments = await self.answered(self._api.list("deployments", labels=labels))
        now = self._api.now
        self._connected_once |= names.keys()
        came = frozenset(self._connected_once)
        units = units_of(pods, deployments, events, names, wanted, now, stays=stays, came=came)
        failure = cause_of(pods, deployments, events, names, wanted, now, came=came)
        return units, await with_log(self._api, failure, pods) if failure is not None else None

    async def _workers(self) -> tuple[Mapping[str, str], Mapping[str, str], int]:
        """Names of the connected workers by address, why some stay although they are to leave, and how many are wanted."""
        if not self.scheduler.attended:
            identity = await self.answered(self.scheduler.link.identity())
            names = {address: str(each["name"]) for address, each in identity["workers"].items()}
            return names, {}, len(names) if self._target.adapts else self._target.minimum
        told = await self.answered(self.scheduler.tell("observe"))
        group = await self.answered(self._api.get("daskworkergroups", f"{self._name}-default"))
        replicas = int(group["spec"]["worker"]["replicas"]) if group is not None else 0
        self._kept = bool(told["kept"])
        self._target = await self._last_word(told["asked"], replicas)
        names = {address: each["name"] for address, each in told["workers"].items()}
        stays = {each["name"]: each["stays"] for each in told["workers"].values() if each["stays"]}
        return names, stays, replicas

    async def _last_word(self, asked: Sequence[int] | None, replicas: int) -> Workers:
        """What was asked for, unless somebody has told Kubernetes itself another number."""
        if asked is not None and (asked[0] != asked[1] or replicas == asked[0]):
            return Workers(minimum=asked[0], maximum=asked[1])
        autoscaler = await self.answered(self._api.get("daskautoscalers", self._name))
        if autoscaler is not None:
            return Workers(minimum=autoscaler["spec"]["minimum"], maximum=autoscaler["spec"]["maximum"])
        return Workers.exactly(replicas)

    async def logs(self, unit: str | None = None) -> Mapping[str, str]:
        """What the pods have written, those that ended as well, as long as Kubernetes keeps it. KeyError for an unknown one."""
        scheduler, workers = await asyncio.gather(self._pods("scheduler"), self._pods("worker"))
        names = dict.fromkeys(["scheduler"], str(scheduler[-1]["metadata"]["name"])) if scheduler else {}
        names |= {str(pod["metadata"]["name"]): str(pod["metadata"]["name"]) for pod in workers}
        wanted = list(names) if unit is None else [unit]
        texts = await asyncio.gather(*(self._log(names[each]) for each in wanted))
        return dict(zip(wanted, texts, strict=True))

    async def _log(self, pod: str) -> str:
        now, before = await asyncio.gather(
            self._api.logs(pod, lines=LOG_LINES), self._api.logs(pod, previous=True, lines=LOG_LINES)
        )
        parts = [f"{before.rstrip()}\n──── it was restarted ────" if before else "", now or "no log yet"]
        return "\n".join(filter(None, parts))

    async def answered(self, question: Coroutine[Any, Any, T]) -> T:
        """As everywhere; and that the API server is away says nothing about the cluster, which a direct way may still reach."""
        try:
            return await super().answered(question)
        except Conflict:
            raise
        except Unreachable as away:
            raise ClusterGone(
                f"cluster {self._plan.name} does not answer: {away}; its tasks go on meanwhile", final=False
            ) from away

    # Its end

    async def fate(self) -> Fate:
        """What is left of it: the DaskCluster, and its scheduler's pod, which loses everything when it is restarted."""
        cluster = await self._cluster()
        if cluster is None or str(cluster["metadata"]["uid"]) != self._uid:
            return Fate(Stage.ENDED, "it was ended, by somebody else, or by Dask's operator since it was idle")
        if cluster["metadata"].get("deletionTimestamp"):
            return Fate(Stage.ENDING)
        pods = await self._pods("scheduler")
        same = [pod for pod in pods if pod["metadata"]["uid"] == self._pod["metadata"]["uid"]]
        if not same or _restarts(same[0]) > _restarts(self._pod):
            return Fate(Stage.FAILED, f"its scheduler {_how_it_ended(same)}, and with it everything that it knew")
        return Fate(Stage.RUNNING)

    async def stop(self) -> None:
        """Delete the DaskCluster, and all that belongs to it. What still holds it up after a while is told, as a warning:
        Kubernetes goes on by itself."""
        if not self._uid:
            return
        # Before what it owns is gone, another of its name would take that for its own.
        await self._api.delete("daskclusters", self._name, uid=self._uid, wait=True)
        if left := await ended(self._api, self._name, self._uid, END_PATIENCE):
            logger.warning("clusterhub: %s was told to end: %s", self._name, left)
        await delete_secret(self._api, self._name, self._uid)

    async def hang_up(self) -> None:
        """Close the forwarded port, and the line to the API server."""
        if self._route is not None:
            await self._route.close()
        await self._api.close()

    # Asking

    async def _cluster(self) -> Mapping[str, Any] | None:
        return await self._api.get("daskclusters", self._name)

    async def _pods(self, component: str) -> Sequence[Mapping[str, Any]]:
        return await self._api.list("pods", labels={CLUSTER: self._name, COMPONENT: component})

    async def _deployments(self) -> list[str]:
        labels = {CLUSTER: self._name, COMPONENT: "worker"}
        return [str(each["metadata"]["name"]) for each in await self._api.list("deployments", labels=labels)]


def _restarts(pod: Mapping[str, Any]) -> int:
    return sum(int(each.get("restartCount", 0)) for each in pod.get("status", {}).get("containerStatuses", ()))


def _how_it_ended(pods: Sequence[Mapping[str, Any]]) -> str:
    for pod in pods:
        for status in pod.get("status", {}).get("containerStatuses", ()):
            if ended := status.get("lastState", {}).get("terminated"):
                reason = ended.get("reason", "Error")
                return f"was restarted by Kubernetes after it had ended ({reason}, exit code {ended.get('exitCode')})"
    return "was replaced by Kubernetes (its pod was deleted, or its node is gone)"
