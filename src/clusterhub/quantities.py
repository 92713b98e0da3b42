"""Bytes and durations: parsed and refused as documented, and printed back the way a person would write them.

Tools disagree on ``8G`` (SLURM: GiB, Dask: GB), on ``12:00`` (SLURM: minutes, PBS: hours? seconds?) and on bare numbers;
whoever reads them here would have to guess, so they are refused with the two things that could be meant.
"""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar, Self, TypeGuard

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_BINARY = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50}
_DECIMAL = {"kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15}
_UNITS = {"B": 1, **_BINARY, **_DECIMAL}
_BY_LOWER = {unit.lower(): size for unit, size in _UNITS.items()}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

LARGEST_BYTES = 2**60
"""One exbibyte: anything above is a slip of the keyboard, and PBS and SLURM count in 64 bits."""
LARGEST_DURATION = 3650 * 86400
"""Ten years, in seconds."""


class _Quantity:
    """What both quantities share: they are numbers that parse from text and print as text, also in JSON and schema."""

    pattern: ClassVar[str]
    examples: ClassVar[tuple[str, ...]]
    meaning: ClassVar[str]

    @classmethod
    def parse(cls, text: object) -> Self:
        raise NotImplementedError

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema(when_used="always")
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": cls.pattern, "examples": list(cls.examples), "title": cls.meaning}


class Bytes(_Quantity, int):
    """A number of bytes that was written with its unit, as ``8 GiB`` or ``8GB``; compares and computes as an int."""

    pattern = r"^\s*[0-9]+(\.[0-9]+)?\s*([kKmMgGtTpP][iI]?)?[bB]\s*$"
    examples = ("16 GiB", "8GB", "512 MiB")
    meaning = "an amount of memory with its unit"

    def __new__(cls, value: int | str) -> Self:
        return cls.parse(value) if isinstance(value, str) else super().__new__(cls, value)

    @classmethod
    def parse(cls, text: object) -> Self:
        """The amount that ``text`` names; a ValueError that says what to write where it names none."""
        if isinstance(text, cls):
            return text
        if not _is_number_or_text(text):
            raise ValueError("not an amount of memory; write it with its unit, as 16 GiB")
        if not isinstance(text, str):
            raise ValueError(_unit_missing(_shown(text, "16")))
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", text)
        if match is None:
            raise ValueError("not an amount of memory; write a positive number and its unit, as 16 GiB")
        number, unit = match.groups()
        if not unit:
            raise ValueError(_unit_missing(_shown(number, "16")))
        if unit.upper() in ("K", "M", "G", "T", "P"):
            raise ValueError(
                f"tools disagree on '{unit}'; write {number} {unit.upper()}iB (powers of 1024)"
                f" or {number} {unit.upper()}B (powers of 1000)"
            )
        if unit.lower() not in _BY_LOWER:
            raise ValueError(f"unknown unit '{unit}'; write GiB, MiB, GB or MB")
        return cls._checked(number, _BY_LOWER[unit.lower()])

    @classmethod
    def _checked(cls, number: str, size: int) -> Self:
        # Integers exactly, so that any whole amount prints back as it was written.
        exact = int(number) * size if number.isdigit() and len(number) < 30 else _rounded(number, size)
        if exact <= 0:
            raise ValueError("must be more than 0 bytes")
        if exact > LARGEST_BYTES:
            raise ValueError("larger than any machine's memory; is the unit right?")
        return cls(exact)

    def __str__(self) -> str:
        """The shortest exact text, binary units first: ``16 GiB``, ``8 GB``; else two decimals of a binary unit."""
        size = int(self)
        exact = [(size // factor, unit) for unit, factor in {**_BINARY, **_DECIMAL}.items() if size % factor == 0]
        if size and exact:
            # 120 GB is a whole number of KiB too, and nobody would write it so.
            return "{} {}".format(*min(exact, key=lambda item: item[0]))
        for unit, factor in sorted(_BINARY.items(), key=lambda item: -item[1]):
            if size >= factor and (size * 100) % factor == 0:
                return f"{size / factor:.2f}".rstrip("0").rstrip(".") + f" {unit}"
        return f"{size} B"

    def share(self, count: int) -> tuple[Self, bool]:
        """The part of one of ``count``, rounded down to what can be read, and whether it is exact."""
        part, rest = divmod(int(self), count)
        decimal = str(self).endswith(("kB", "MB", "GB", "TB", "PB"))
        for step in (10**9, 10**6, 10**3) if decimal else (2**30, 2**20, 2**10):
            if rest == 0 and part % step == 0:
                return type(self)(part), True
        for step in (10**6, 10**3, 1) if decimal else (2**20, 2**10, 1):
            if rounded := part // step * step:
                return type(self)(rounded), rest == 0 and rounded == part
        return type(self)(1), False

    def about(self) -> str:
        """To three significant figures, for people: ``7.45 GiB``. May round; ``str`` never does."""
        for unit, factor in sorted(_BINARY.items(), key=lambda item: -item[1]):
            if self >= factor:
                return f"{self / factor:.3g} {unit}"
        return f"{int(self)} B"

    __repr__ = __str__


def _is_number_or_text(value: object) -> TypeGuard[str | int | float]:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    return isinstance(value, str | int) or math.isfinite(value)


def _shown(number: str | int | float, example: str) -> str:
    """The number as it goes with a unit; where nobody would write that one, an example."""
    # Python refuses to print numbers of thousands of digits.
    text = example if isinstance(number, int) and abs(number) >= 10**30 else str(number).strip().removeprefix("-")
    return text if len(text) < 30 else example


def _unit_missing(number: str) -> str:
    return f"the unit is missing; write {number} GiB or {number} MiB"


def _rounded(number: str, size: int) -> int:
    value = float(number) * size
    if not math.isfinite(value):
        raise ValueError("larger than any machine's memory; is the unit right?")
    return round(value)


class Duration(_Quantity, float):
    """A time span in seconds that was written with its unit, as ``12h``, ``1h30m``, ``12:00:00`` or ``2-00:00:00``."""

    pattern = r"^\s*([0-9]+(\.[0-9]+)?\s*[smhd]\s*)+$|^\s*([0-9]+-)?[0-9]+:[0-5][0-9]:[0-5][0-9]\s*$"
    examples = ("12h", "30m", "90s", "1h30m", "2d", "12:00:00", "2-00:00:00")
    meaning = "a time span with its unit"

    def __new__(cls, value: float | str) -> Self:
        return cls.parse(value) if isinstance(value, str) else super().__new__(cls, value)

    @classmethod
    def parse(cls, text: object) -> Self:
        """The span that ``text`` names; a ValueError that says what to write where it names none."""
        if isinstance(text, cls):
            return text
        if not _is_number_or_text(text):
            raise ValueError("not a duration; write 12h, 30m or 12:00:00")
        if not isinstance(text, str) or re.fullmatch(r"\s*-?[0-9]+(\.[0-9]+)?\s*", text):
            number = _shown(text, "30")
            raise ValueError(f"the unit is missing; write {number}s, {number}m or 12:00:00")
        stripped = text.strip()
        clock = re.fullmatch(r"(?:([0-9]{1,6})-)?([0-9]{1,6}):([0-5][0-9]):([0-5][0-9])", stripped)
        if clock:
            days, hours, minutes, seconds = (int(group or 0) for group in clock.groups())
            return cls._checked(days * 86400 + hours * 3600 + minutes * 60 + seconds)
        if re.fullmatch(r"[0-9]+:[0-9]+", stripped):
            left, right = stripped.split(":")
            raise ValueError(
                f"could be hours or minutes; write {left}h{right}m for hours and minutes,"
                f" or {left}m{right}s for minutes and seconds"
            )
        parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)\s*([smhd])", stripped)
        if not parts or not re.fullmatch(r"(?:[0-9]+(?:\.[0-9]+)?\s*[smhd]\s*)+", stripped):
            raise ValueError("not a duration; write 12h, 30m or 12:00:00")
        units = [unit for _, unit in parts]
        if units != sorted(set(units), key="dhms".index):
            raise ValueError("not a duration; name each unit once, the largest first, as 1h30m")
        return cls._checked(sum(float(number) * _SECONDS[unit] for number, unit in parts))

    @classmethod
    def _checked(cls, seconds: float) -> Self:
        seconds = round(seconds, 6)  # below a microsecond nothing here can tell the difference, nor print it
        if seconds <= 0:
            raise ValueError("must be longer than 0 s")
        if not seconds <= LARGEST_DURATION:
            raise ValueError("longer than ten years; is the unit right?")
        return cls(seconds)

    @property
    def clock(self) -> str:
        """``HH:MM:SS``, the form that SLURM and PBS both read, rounded up to whole seconds."""
        whole = math.ceil(self)
        return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"

    def __str__(self) -> str:
        """The text a person would write: ``12h``, ``1h30m``, ``2d``, ``0.5s``; parses back to the same span."""
        whole, parts = int(self), []
        fraction = self - whole
        for unit in "dhm":
            count, whole = divmod(whole, _SECONDS[unit])
            if count:
                parts.append(f"{count}{unit}")
        rest = whole + fraction
        if rest or not parts:
            parts.append(f"{rest:.6f}".rstrip("0").rstrip(".") + "s" if fraction else f"{whole}s")
        return "".join(parts)

    __repr__ = __str__
