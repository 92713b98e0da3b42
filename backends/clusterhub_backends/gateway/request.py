"""From our words to a gateway's own: the options of a cluster that is asked for, or why it cannot be had, all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clusterhub import ClusterSpec, Duration, Unsupported
from clusterhub_backends.gateway.offers import NotOffered, Offer
from clusterhub_backends.gateway.options import GatewayOptions, Mapped, Wish, without_secrets

USUAL: Mapping[Wish, tuple[str, ...]] = {
    "worker.cores": ("worker_cores", "cores", "worker_cpus", "worker_cpu", "cpus", "cpu"),
    "worker.memory": ("worker_memory", "memory", "worker_mem", "mem", "memory_gb", "memory_gib"),
    "worker.threads": ("worker_threads", "threads"),
    "worker.gpus": ("worker_gpus", "gpus", "worker_gpu", "gpu"),
    "environment.variables": ("environment", "environment_variables", "worker_environment", "env"),
    "lifecycle.idle_timeout": ("idle_timeout", "idle_timeout_seconds", "idle_timeout_minutes", "cluster_idle_timeout"),
    "gateway.image": ("image", "docker_image", "container_image", "worker_image"),
}
"""The names that gateways commonly give to what our words mean, the commonest first."""
_KINDS: Mapping[Wish, frozenset[str]] = {
    "environment.variables": frozenset({"mapping"}),  # others call a choice of conda environments so
    "lifecycle.idle_timeout": frozenset({"int", "float"}),
    "gateway.image": frozenset({"string", "select"}),
}
_NUMBERS = frozenset({"int", "float", "select", "string"})


LATER = 60
"""Seconds by which the gateway may come after the caretaker, which tells why the cluster ended."""


@dataclass(frozen=True)
class Wishes:
    """What a profile says of its workers, as far as a gateway decides it. What nobody said is left to the gateway."""

    spec: ClusterSpec
    options: GatewayOptions

    def said(self) -> dict[Wish, Any]:
        """The values that have to be honoured."""
        worker, environment = self.spec.worker, self.spec.environment
        spoken = worker.model_fields_set if "worker" in self.spec.model_fields_set else set()
        found: dict[Wish, Any] = {}
        if "cores" in spoken:
            found["worker.cores"] = worker.cores
        if "memory" in spoken:
            found["worker.memory"] = worker.memory
        if "threads" in spoken and worker.threads is not None:
            found["worker.threads"] = worker.threads
        if "gpus" in spoken:
            found["worker.gpus"] = worker.gpus
        if environment.variables:
            found["environment.variables"] = dict(environment.variables)
        if self.options.image is not None:
            found["gateway.image"] = self.options.image
        return found

    # What is sent

    def request(self, offers: Mapping[str, Offer]) -> dict[str, Any]:
        """The options to send to a gateway that has these offers.

        Raises Unsupported with everything that it does not offer, and what it does.
        """
        reasons: dict[str, str] = {}
        sent = self._own_options(offers, reasons)
        for wish, value in self.said().items():
            try:
                self._put(wish, value, offers, sent)
            except NotOffered as refused:
                reasons[wish] = str(refused)
        if reasons:
            raise Unsupported("gateway", reasons, support=self.spec.support)
        return self._with_idle_timeout(offers, sent)

    def _own_options(self, offers: Mapping[str, Offer], reasons: dict[str, str]) -> dict[str, Any]:
        sent: dict[str, Any] = {}
        for name, value in self.options.options.items():
            if value is None:
                continue  # taken back by a stronger layer
            try:
                sent[name] = _named(name, offers).checked(value)
            except NotOffered as refused:
                reasons[f"gateway.options.{name}"] = str(refused)
        for wish, mapped in self.options.map.items():
            if mapped.option is not None and mapped.option not in offers:
                reasons[f"gateway.map.{wish}"] = str(_unknown(mapped.option, offers))
        return sent

    def _put(self, wish: Wish, value: Any, offers: Mapping[str, Offer], sent: dict[str, Any]) -> None:
        offer, unit = self._offer(wish, offers)
        if offer is None:
            if wish == "worker.threads" and value == self.spec.worker.nthreads and value == int(self.spec.worker.cores):
                return  # a thread for each core is what every gateway has
            if wish == "worker.gpus" and value == 0:
                return  # and no GPUs
            raise NotOffered(f"it has no option for that (it has {_names(offers)}); gateway.map can name one")
        converted = _CONVERT[wish](offer, value, unit)
        if offer.name in sent and sent[offer.name] != converted:
            if not _agree(sent[offer.name], value):
                raise NotOffered(self._contradiction(offer.name, sent[offer.name]))
            converted = {**sent[offer.name], **value}
        sent[offer.name] = converted

    def _contradiction(self, option: str, value: Any) -> str:
        shown = without_secrets(option, value)
        if option not in self.options.options:
            return f"another of our words goes by {option} as well, and makes it {shown}; see gateway.map"
        return f"gateway.options.{option} = {shown} says otherwise; take one of them back"

    def _offer(self, wish: Wish, offers: Mapping[str, Offer]) -> tuple[Offer | None, str | None]:
        """The gateway's option for it, as the profile says or else by the usual names; and the unit that the profile says."""
        if wish in self.options.map:
            mapped = self.options.map[wish]
            return offers.get(mapped.option or ""), mapped.unit
        kinds = _KINDS.get(wish, _NUMBERS)
        usual = (offers[name] for name in USUAL[wish] if name in offers and offers[name].kind in kinds)
        return next(usual, None), None

    def _with_idle_timeout(self, offers: Mapping[str, Offer], sent: dict[str, Any]) -> dict[str, Any]:
        """The cluster's own caretaker ends an idle one. Where the gateway can as well, it ends also one that never got so far."""
        idle, (offer, unit) = self.spec.lifecycle.idle_timeout, self._offer("lifecycle.idle_timeout", offers)
        if idle == "never" or offer is None or offer.name in sent or offer.default:
            return sent
        try:
            return {**sent, offer.name: offer.seconds(Duration(idle + LATER), unit)}
        except NotOffered:
            return sent  # out of its range, and only a second net

    # What is shown

    def preview(self) -> dict[str, Any]:
        """The options as far as they are known without asking the gateway: by its usual names, memory in GiB. No secrets."""
        shown: dict[str, Any] = {name: value for name, value in self.options.options.items() if value is not None}
        for wish, value in self.said().items():
            mapped = self.options.map.get(wish) or Mapped(option=USUAL[wish][0])
            if mapped.option is None:
                continue  # refused when the gateway is asked
            offer = Offer(mapped.option, "", "", {"environment.variables": "mapping"}.get(wish, "float"))
            converted = value if wish == "gateway.image" else _CONVERT[wish](offer, value, mapped.unit)
            own = shown.get(mapped.option)
            shown[mapped.option] = {**own, **converted} if isinstance(own, Mapping) else converted
        return {name: without_secrets(name, value) for name, value in shown.items()}


def _environment(offer: Offer, value: Any, unit: str | None) -> Any:
    default = offer.default if isinstance(offer.default, Mapping) else {}
    return offer.checked({**default, **value})


def _agree(one: Any, other: Any) -> bool:
    """Whether both are tables that say the same, or say something of different keys."""
    tables = isinstance(one, Mapping) and isinstance(other, Mapping)
    return tables and all(one[key] == other[key] for key in one.keys() & other.keys())


_CONVERT: Mapping[Wish, Callable[[Offer, Any, str | None], Any]] = {
    "worker.cores": lambda offer, value, unit: offer.number(value),
    "worker.memory": lambda offer, value, unit: offer.memory(value, unit),
    "worker.threads": lambda offer, value, unit: offer.number(value),
    "worker.gpus": lambda offer, value, unit: offer.number(value),
    "environment.variables": _environment,
    "gateway.image": lambda offer, value, unit: offer.checked(value),
}


def _named(name: str, offers: Mapping[str, Offer]) -> Offer:
    if name not in offers:
        raise _unknown(name, offers)
    return offers[name]


def _unknown(name: str, offers: Mapping[str, Offer]) -> NotOffered:
    import difflib

    close = difflib.get_close_matches(name, offers, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return NotOffered(f"it has no option of that name; {hint}it has {_names(offers)}")


def _names(offers: Mapping[str, Offer]) -> str:
    return ", ".join(offers) or "no options at all"


def offered(offers: Mapping[str, Offer]) -> Iterator[str]:
    """A line for each option: its name, what it takes, and its default."""
    for offer in offers.values():
        default = (
            "" if offer.default in ("", {}, None) else f", {without_secrets(offer.name, offer.default)} unless said"
        )
        yield f"{offer.name}: {offer.words}{default}"
