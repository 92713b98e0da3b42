"""The options that a gateway offers for its clusters: each one's type, range and unit, as its server tells them.

The types are those of ``dask_gateway_server.options``; what the numbers count is told by labels alone, if at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clusterhub import Bytes, Duration
from clusterhub_backends.gateway.options import MEMORY_UNITS, TIME_UNITS

_MEMORY_WORDS: Mapping[str, str] = {unit.lower(): unit for unit in MEMORY_UNITS} | {
    "bytes": "B", "ki": "KiB", "mi": "MiB", "gi": "GiB", "ti": "TiB", "gib": "GiB", "mib": "MiB",
}  # fmt: skip
_TIME_WORDS: Mapping[str, str] = {
    "s": "s", "sec": "s", "secs": "s", "seconds": "s", "m": "m", "min": "m", "mins": "m", "minutes": "m", "h": "h", "hours": "h",
}  # fmt: skip
_SUFFIXES: Mapping[str, int] = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40} | {
    **{f"{letter}i": 2 ** (10 * power) for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 2 ** (10 * power) for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}b": 10 ** (3 * power) for power, letter in enumerate("kmgt", 1)},
}
_AMOUNT = re.compile(r"^\s*(?P<number>\d+(\.\d+)?)(?P<gap>\s*)(?P<suffix>[A-Za-z]*)\s*$")
_TYPES: Mapping[str, Any] = {
    "int": int, "float": (int, float), "string": str, "select": str, "bool": bool, "mapping": Mapping,
}  # fmt: skip
_SURELY_BYTES = 2**20
"""A range of memory that begins beyond it counts bytes: nobody offers workers of a million GiB."""


class NotOffered(ValueError):
    """A value that the gateway does not take for an option, with what it takes."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One option of the gateway's."""

    name: str
    label: str
    default: Any
    kind: str
    """``int``, ``float``, ``string``, ``bool``, ``select`` or ``mapping``."""
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Offer:
        """The offer as the server tells of it, at ``/api/v1/options``."""
        spec = told["spec"]
        return cls(
            name=str(told["field"]),
            label=str(told["label"]),
            default=told["default"],
            kind=str(spec["type"]),
            least=spec.get("min"),
            most=spec.get("max"),
            choices=tuple(spec.get("options", ())),
        )

    @property
    def words(self) -> str:
        """``a whole number from 1 to 4``, ``one of small, large``."""
        match self.kind:
            case "select":
                return f"one of {', '.join(self.choices)}"
            case "int" | "float":
                number = "a whole number" if self.kind == "int" else "a number"
                least = f" from {self.least:g}" if self.least is not None else ""
                most = f" to {self.most:g}" if self.most is not None else ""
                return f"{number}{least or (' up' if most else '')}{most}"
            case "bool":
                return "true or false"
            case "mapping":
                return "a table of names and values"
            case "string":
                return "a text"
        return f"of the type {self.kind}"

    def checked(self, value: Any) -> Any:
        """``value``, if the gateway takes it. Raises NotOffered with what it takes instead."""
        kind = _TYPES.get(self.kind)
        wrong = kind is not None and (not isinstance(value, kind) or (isinstance(value, bool) and self.kind != "bool"))
        if wrong or (self.choices and value not in self.choices) or self._out_of_range(value):
            raise NotOffered(f"{self.name} must be {self.words} there")
        return value

    def _out_of_range(self, value: Any) -> bool:
        if self.kind not in ("int", "float"):
            return False
        return (self.least is not None and value < self.least) or (self.most is not None and value > self.most)

    # Our quantities as it takes them

    def number(self, value: float) -> Any:
        """A number of cores, threads or GPUs."""
        if self.kind in ("select", "string"):
            return self._chosen(value, lambda text: float(text), f"{value:g}")
        if self.kind == "int" and value != int(value):
            raise NotOffered(f"{self.name} is a whole number there")
        return self.checked(int(value) if value == int(value) else float(value))

    def memory(self, value: Bytes, unit: str | None) -> Any:
        """An amount of memory."""
        if self.kind in ("select", "string"):
            counted = MEMORY_UNITS[unit] if unit is not None else None
            return self._chosen(value, lambda text: _bytes(text, counted), _like(str(self.default), value, counted))
        unit = unit or self.memory_unit
        return self._counted(value, MEMORY_UNITS[unit], unit)

    def seconds(self, value: Duration, unit: str | None) -> Any:
        """A time."""
        unit = unit or _unit_in(self.label, _TIME_WORDS) or _unit_in(self.name.replace("_", " "), _TIME_WORDS) or "s"
        return self._counted(value, TIME_UNITS[unit], {"s": "seconds", "m": "minutes", "h": "hours"}[unit])

    @property
    def memory_unit(self) -> str:
        """What its numbers count, by its label, its name, its range; else GiB, as most gateways have it."""
        told = _unit_in(self.label, _MEMORY_WORDS) or _unit_in(self.name.replace("_", " "), _MEMORY_WORDS)
        if told is not None:
            return told
        size = self.most if self.most is not None else self.default
        return "B" if isinstance(size, int | float) and size >= _SURELY_BYTES else "GiB"

    def _counted(self, value: float, size: int, unit: str) -> Any:
        count = value / size
        if self.kind == "int" and count != int(count):
            raise NotOffered(
                f"{self.name} counts whole {unit} there; {int(count)} or {int(count) + 1} {unit} can be had"
            )
        try:
            return self.checked(int(count) if self.kind == "int" else count)
        except NotOffered as refused:
            raise NotOffered(f"{refused}, in {unit}") from None

    def _chosen(self, value: float, amount: Any, otherwise: str) -> str:
        """The choice that amounts to ``value``; where any text is taken, ``otherwise``."""
        if self.kind == "string":
            return otherwise
        for choice in self.choices:
            try:
                if amount(choice) == value:
                    return choice
            except ValueError:
                continue  # "small", "large": not for numbers
        raise NotOffered(f"{self.name} must be {self.words} there")


def offers_from(told: Sequence[Mapping[str, Any]]) -> dict[str, Offer]:
    """All options by name."""
    return {offer.name: offer for offer in map(Offer.of, told)}


def _unit_in(text: str, words: Mapping[str, str]) -> str | None:
    """The unit that a label names: ``Worker memory (GiB)``."""
    found = [words[word.lower()] for word in re.findall(r"[A-Za-z]+", text) if word.lower() in words]
    return found[-1] if found else None


def _bytes(text: str, counted: int | None) -> float:
    """Bytes in ``4 GB``, ``4G`` or, where numbers alone stand there, in so many of ``counted``."""
    match = _AMOUNT.match(text)
    if match is None or match["suffix"].lower() not in _SUFFIXES:
        raise ValueError(text)
    size = counted if counted is not None and not match["suffix"] else _SUFFIXES[match["suffix"].lower()]
    return float(match["number"]) * size


def _like(example: str, value: Bytes, counted: int | None) -> str:
    """``value`` written as ``example`` is; else as dask-gateway's own configuration has it: ``8G`` for 8 GiB."""
    match = _AMOUNT.match(example)
    suffix, gap = (match["suffix"], match["gap"]) if match is not None else ("G", "")
    if suffix.lower() not in _SUFFIXES:
        suffix, gap = "G", ""
    size = counted if counted is not None and not suffix else _SUFFIXES[suffix.lower()]
    return f"{value / size:g}{gap}{suffix}"
