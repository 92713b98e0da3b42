"""The options that a gateway offers for its clusters: each one's type, range and unit, as its server tells them.

The types are those of ``dask_gateway_server.options``; what the numbers count is told by labels alone, if at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context
from fractions import Fraction
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
_NUMBER = re.compile(r"\d+(\.\d+)?")
_TYPES: Mapping[str, Any] = {
    "int": int, "float": (int, float), "string": str, "select": str, "bool": bool, "mapping": Mapping,
}  # fmt: skip
_LETTERS = "TGMK"
_SURELY_GIB, _SURELY_BYTES = 128, 2**20
"""Gateways offer workers of less than 128 GiB, and none of a million GiB: numbers in between count nobody knows what."""


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
        plain = int(value) if value == int(value) else float(value)
        if self.kind == "string":
            return str(plain)
        if self.kind == "select":
            return self._chosen(plain, _number)
        if self.kind == "int" and isinstance(plain, float):
            raise NotOffered(f"{self.name} is a whole number there")
        return self.checked(plain)

    def memory(self, value: Bytes, unit: str | None) -> Any:
        """An amount of memory. ``unit`` is what its mere numbers count, where somebody knows better than it tells."""
        unit = unit or self._memory_unit()
        size = MEMORY_UNITS[unit] if unit is not None else None
        if self.kind == "select":
            return self._chosen(value, lambda text: _bytes(text, size))
        if self.kind == "string" and not _NUMBER.fullmatch(str(self.default)):
            return _like(str(self.default), value)
        if unit is None or size is None:
            raise NotOffered(
                f"{self.name} does not tell what its numbers count; say it, as gateway.map: {{worker.memory: {{option:"
                f" {self.name}, unit: MiB}}}}"
            )
        return _decimal(value, size) if self.kind == "string" else self._counted(value, size, unit)

    def seconds(self, value: Duration, unit: str | None) -> Any:
        """A time."""
        unit = unit or self._unit_told(_TIME_WORDS) or "s"
        return self._counted(value, TIME_UNITS[unit], {"s": "seconds", "m": "minutes", "h": "hours"}[unit])

    def _unit_told(self, words: Mapping[str, str]) -> str | None:
        return _unit_in(self.label, words) or _unit_in(self.name.replace("_", " "), words)

    def _memory_unit(self) -> str | None:
        """What its mere numbers count, by its label, its name, or the least of them; None where that could be anything."""
        if (told := self._unit_told(_MEMORY_WORDS)) is not None:
            return told
        texts = [str(each) for each in (self.least, self.default, self.most, *self.choices)]
        numbers = [float(text) for text in texts if _NUMBER.fullmatch(text) and float(text) > 0]
        least = min(numbers, default=1)
        if least < _SURELY_GIB:
            return "GiB"
        return "B" if least >= _SURELY_BYTES else None

    def _counted(self, value: float, size: int, unit: str) -> Any:
        count = Fraction(value) / size
        if self.kind == "int" and count.denominator != 1:
            whole = [n for n in (int(count), int(count) + 1) if n > 0 and not self._out_of_range(n)]
            if whole:
                can = " or ".join(map(str, whole))
                raise NotOffered(f"{self.name} counts whole {unit} there; {can} {unit} can be had")
        try:
            return self.checked(int(count) if count.denominator == 1 and self.kind == "int" else float(count))
        except NotOffered as refused:
            raise NotOffered(f"{refused}, in {unit}") from None

    def _chosen(self, value: float, amount: Callable[[str], Fraction]) -> str:
        """The choice that amounts to ``value``."""
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


def _number(text: str) -> Fraction:
    if not _NUMBER.fullmatch(text.strip()):
        raise ValueError(text)
    return Fraction(text.strip())


def _bytes(text: str, counted: int | None) -> Fraction:
    """Bytes in ``4 GB``, ``4G`` or, where numbers alone stand there, in so many of ``counted``."""
    match = _AMOUNT.match(text)
    if match is None or match["suffix"].lower() not in _SUFFIXES or not (match["suffix"] or counted):
        raise ValueError(text)
    return Fraction(match["number"]) * (_SUFFIXES[match["suffix"].lower()] if match["suffix"] else counted or 1)


def _like(example: str, value: Bytes) -> str:
    """``value`` in whole units of the kind that ``example`` has; else of the kind that dask-gateway itself reads, in which
    ``8G`` is 8 GiB."""
    match = _AMOUNT.match(example)
    suffix, gap = (match["suffix"], match["gap"]) if match is not None else ("G", "")
    if suffix.lower() not in _SUFFIXES:
        suffix, gap = "G", ""
    letter, kind = (suffix[0], suffix[1:]) if suffix.lower() != "b" else ("", suffix)
    letters = _LETTERS[_LETTERS.find(letter.upper()) :] if letter else ""
    for smaller in letters if letter.isupper() else letters.lower():
        if value % _SUFFIXES[f"{smaller}{kind}".lower()] == 0:
            return f"{value // _SUFFIXES[f'{smaller}{kind}'.lower()]}{gap}{smaller}{kind}"
    if kind:
        return f"{int(value)}{gap}B" if kind.lower().endswith("b") else str(int(value))
    return f"{_decimal(value, 2**10)}{gap}K"  # dask-gateway itself reads no number without a letter


def _decimal(value: int, size: int) -> str:
    """So many of ``size``, to the last digit."""
    exact = Context(prec=80).divide(*map(Context(prec=80).create_decimal, (int(value), size)))
    return f"{exact.normalize(Context(prec=80)):f}"
