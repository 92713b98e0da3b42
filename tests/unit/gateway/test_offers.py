"""Our quantities in the numbers, texts and choices of a gateway's options: the same amount, or a refusal with what can be had."""

from __future__ import annotations

import math
import os
from fractions import Fraction
from typing import Any

import pytest
from dask_gateway_server import options as theirs
from dask_gateway_server.traitlets import MemoryLimit
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterhub import Bytes, Duration
from clusterhub_backends.gateway.offers import NotOffered, Offer
from clusterhub_backends.gateway.options import MEMORY_UNITS, TIME_UNITS

from .conftest import offered

# 3000 and more examples of each were run when this was written; these keep watch.
watch = settings(max_examples=int(os.environ.get("TEST_EXAMPLES", "100")))
AMOUNTS = st.one_of(
    st.builds(lambda n, unit: Bytes(n * unit), st.integers(1, 2**12), st.sampled_from(sorted(MEMORY_UNITS.values()))),
    st.builds(Bytes, st.integers(1, 2**60)),
).filter(lambda amount: amount <= 2**60)
UNITS = st.sampled_from(list(MEMORY_UNITS))
GIB = 2**30


def one(field: theirs.Field) -> Offer:
    """What a server with this option offers."""
    return offered(field)[field.field]


def refusal(ask: Any, *arguments: Any) -> str:
    with pytest.raises(NotOffered) as caught:
        ask(*arguments)
    return str(caught.value)


# As the server tells of them


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (theirs.Integer("n", default=1, min=1, max=4), "a whole number from 1 to 4"),
        (theirs.Integer("n", default=1, min=1), "a whole number from 1"),
        (theirs.Float("n", default=1, max=4), "a number up to 4"),
        (theirs.Float("n"), "a number"),
        (theirs.Select("n", ["small", ("large", 8)]), "one of small, large"),
        (theirs.String("n"), "a text"),
        (theirs.Bool("n"), "true or false"),
        (theirs.Mapping("n"), "a table of names and values"),
    ],
)
def test_an_offer_says_what_it_takes(field: theirs.Field, words: str):
    assert one(field).words == words


def test_an_option_of_a_later_server_is_told_by_its_type_and_left_to_the_server():
    (later,) = [Offer.of({"field": "when", "label": "When", "default": None, "spec": {"type": "date"}})]
    assert later.words == "of the type date"
    assert later.checked("2026-11-25") == "2026-11-25"


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 9), st.floats(-3, 9), st.sampled_from(["small", "large", "", "7"]),
    st.dictionaries(st.text(max_size=2), st.text(max_size=2), max_size=1), st.lists(st.integers(), max_size=1),
)  # fmt: skip
FIELDS = [
    theirs.Integer("n", default=1, min=1, max=4), theirs.Float("n", default=1, min=0.5, max=4), theirs.Integer("n"),
    theirs.Select("n", ["small", "large"]), theirs.String("n"), theirs.Bool("n"), theirs.Mapping("n"),
]  # fmt: skip


@watch
@given(st.sampled_from(FIELDS), VALUES)
def test_what_passes_here_the_server_takes_and_the_other_way_round(field: theirs.Field, value: Any):
    if isinstance(value, bool) and isinstance(field, theirs.Number):
        assert refusal(one(field).checked, value), "true is no number of cores, whatever Python says"
        return
    try:
        field.validate(value)
    except (TypeError, ValueError):
        assert field.field in refusal(one(field).checked, value)
    else:
        assert one(field).checked(value) == value


# Numbers


@pytest.mark.parametrize("value", [2, 2.0])
def test_cores_are_a_whole_number_where_the_gateway_has_it_so(value: float):
    assert repr(one(theirs.Integer("cores", default=1, min=1, max=4)).number(value)) == "2"
    assert "whole number" in refusal(one(theirs.Integer("cores")).number, 0.5)
    assert one(theirs.Float("cores")).number(0.5) == 0.5


def test_a_number_out_of_the_range_is_refused_with_the_range():
    assert (
        refusal(one(theirs.Integer("cores", 1, min=1, max=4)).number, 8)
        == "cores must be a whole number from 1 to 4 there"
    )


def test_cores_to_choose_from_are_found_whatever_they_are_written_like():
    cores = one(theirs.Select("cores", ["1", "2.0", "04", "many"]))
    assert [cores.number(n) for n in (1, 2, 4)] == ["1", "2.0", "04"]
    assert refusal(cores.number, 3) == "cores must be one of 1, 2.0, 04, many there"


def test_cores_as_a_text_are_a_plain_number():
    cores = one(theirs.String("cores", "1"))
    assert [cores.number(n) for n in (4, 0.5, 1234567)] == ["4", "0.5", "1234567"]


# Memory: what its numbers count


@pytest.mark.parametrize(
    ("field", "unit", "count"),
    [
        (theirs.Float("worker_memory", 1, min=0.25, max=8, label="Worker Memory (GiB)"), "GiB", 4),
        (theirs.Integer("ram", 512, min=256, max=8192, label="RAM (MiB)"), "MiB", 4096),
        (theirs.Integer("m", 1, label="Memory in GB"), "GB", 4),
        (theirs.Integer("m", 2**30, label="Worker memory, bytes"), "B", 4 * GIB),
        (theirs.Integer("memory_gb", 2), "GB", 4),
        (theirs.Integer("memory_gib", 2), "GiB", 4),
        (theirs.Integer("worker_mem_mb", 2048, label="Memory"), "MB", 4000),
        (theirs.Integer("memory", 4, min=1, max=64), "GiB", 4),
        (theirs.Integer("memory", 2 * GIB, min=GIB, max=64 * GIB), "B", 4 * GIB),
        (theirs.Integer("memory", 0, max=64 * GIB), "B", 4 * GIB),
        (theirs.Integer("memory"), "GiB", 4),
        (theirs.Float("memory", 0, max=64), "GiB", 4),
        (theirs.Float("memory", 4, max=1024), "GiB", 4),
    ],
)
def test_the_unit_is_told_by_label_name_or_range(field: theirs.Field, unit: str, count: int):
    assert one(field).memory(Bytes(4 * MEMORY_UNITS["GB" if unit in ("GB", "MB") else "GiB"]), None) == count


def test_the_profile_knows_the_unit_better_than_the_label():
    assert one(theirs.Integer("ram", 1, label="RAM (GB)")).memory(Bytes("512 MiB"), "MiB") == 512


@pytest.mark.parametrize(
    "field",
    [theirs.Integer("ram", 2048, min=512, max=16384), theirs.Integer("ram", 4096), theirs.Float("ram", 0, max=16384)],
)
def test_numbers_that_no_worker_has_in_gib_are_not_guessed_at(field: theirs.Field):
    """8 GiB would be 8, which that gateway takes for 8 MiB."""
    assert "gateway.map" in refusal(one(field).memory, Bytes("8 GiB"), None)
    assert one(field).memory(Bytes("8 GiB"), "MiB") == 8192


@watch
@given(AMOUNTS, UNITS)
def test_a_whole_number_of_units_is_the_very_amount_or_is_refused(amount: Bytes, unit: str):
    memory = one(theirs.Integer("memory"))
    if amount % MEMORY_UNITS[unit]:
        assert f"counts whole {unit}" in refusal(memory.memory, amount, unit)
    else:
        sent = memory.memory(amount, unit)
        assert isinstance(sent, int)
        assert sent * MEMORY_UNITS[unit] == amount


@watch
@given(AMOUNTS, UNITS)
def test_a_fraction_of_units_is_the_amount_to_the_last_byte_that_a_float_can_say(amount: Bytes, unit: str):
    sent = one(theirs.Float("memory")).memory(amount, unit)
    assert isinstance(sent, float)
    assert math.isclose(sent * MEMORY_UNITS[unit], amount, rel_tol=2**-52)
    if amount < 2**52 and unit.endswith("iB"):
        assert Fraction(sent) * MEMORY_UNITS[unit] == amount


def test_what_lies_between_two_units_is_refused_with_those_that_can_be_had():
    memory = one(theirs.Integer("memory", 1, min=1, max=8, label="Memory (GiB)"))
    assert refusal(memory.memory, Bytes("3.5 GiB"), None) == "memory counts whole GiB there; 3 or 4 GiB can be had"
    assert refusal(memory.memory, Bytes("0.5 GiB"), None) == "memory counts whole GiB there; 1 GiB can be had"
    assert refusal(memory.memory, Bytes("8.5 GiB"), None) == "memory counts whole GiB there; 8 GiB can be had"
    assert refusal(memory.memory, Bytes("9 GiB"), None) == "memory must be a whole number from 1 to 8 there, in GiB"
    assert refusal(memory.memory, Bytes("9.5 GiB"), None) == "memory must be a whole number from 1 to 8 there, in GiB"


# Memory to choose from, and memory as a text


def test_an_amount_is_chosen_however_it_is_written():
    memory = one(theirs.Select("memory", ["2 GB", "4G", "8 GiB", "16Gi", "0.5 TB", "huge"]))
    asked = ["2 GB", "4 GiB", "8 GiB", "16 GiB", "500 GB"]
    assert [memory.memory(Bytes(amount), None) for amount in asked] == ["2 GB", "4G", "8 GiB", "16Gi", "0.5 TB"]
    assert (
        refusal(memory.memory, Bytes("4 GB"), None) == "memory must be one of 2 GB, 4G, 8 GiB, 16Gi, 0.5 TB, huge there"
    )


def test_mere_numbers_to_choose_from_count_what_profile_or_label_say():
    choices = ["2", "4", "8"]
    assert one(theirs.Select("memory", choices)).memory(Bytes("4 MiB"), "MiB") == "4"
    assert one(theirs.Select("memory", choices, label="Memory (GiB)")).memory(Bytes("4 GiB"), None) == "4"
    assert one(theirs.Select("memory_gb", choices)).memory(Bytes("4 GB"), None) == "4"
    assert one(theirs.Select("memory", choices)).memory(Bytes("4 GiB"), None) == "4"
    assert one(theirs.Select("memory", [str(2 * GIB), str(4 * GIB)])).memory(Bytes("4 GiB"), None) == str(4 * GIB)


@pytest.mark.parametrize(
    ("example", "amount", "text"),
    [
        ("4G", "8 GiB", "8G"), ("4 GB", "8 GB", "8 GB"), ("2Gi", "8 GiB", "8Gi"), ("2 GiB", "1.5 GiB", "1536 MiB"),
        ("", "8 GiB", "8G"), ("small", "8 GiB", "8G"), ("512M", "8 GiB", "8192M"), ("1073741824", "8 GiB", "8589934592"),
        ("4 GB", "8 GiB", "8589934592 B"), ("4G", "1 GB", "976562.5K"), ("4Gi", "1 GB", "1000000000"),
        ("4 gb", "1500 MB", "1500 mb"), ("2", "8 GiB", "8"),
    ],
)  # fmt: skip
def test_a_text_is_written_as_its_example_is(example: str, amount: str, text: str):
    assert one(theirs.String("memory", example)).memory(Bytes(amount), None) == text


EXAMPLES = ["", "4G", "4 GB", "2Gi", "2 GiB", "512M", "512 MB", "1T", "small", "1073741824", "100k", "8 kB", "1.5 TiB"]


@watch
@given(AMOUNTS, st.sampled_from(EXAMPLES))
def test_a_text_says_the_very_amount(amount: Bytes, example: str):
    sent = one(theirs.String("memory", example)).memory(amount, None)
    assert "e" not in sent, "no exponents"
    choice = one(theirs.Select("memory", [sent]))
    assert choice.memory(amount, "B") == sent, "read back by our own rules"


@watch
@given(AMOUNTS, st.sampled_from(["", "4G", "512M", "1T"]))
def test_dask_gateways_own_reading_of_a_text_is_the_amount_asked_for(amount: Bytes, example: str):
    sent = one(theirs.String("memory", example)).memory(amount, None)
    read = MemoryLimit().validate(None, sent)
    assert read == amount if amount < 2**53 else math.isclose(read, amount, rel_tol=2**-52)  # it reads floats


# Times


@pytest.mark.parametrize(
    ("field", "sent"),
    [
        (theirs.Float("idle_timeout"), 5400), (theirs.Float("idle_timeout", label="Idle Timeout (s)"), 5400),
        (theirs.Float("idle_timeout", label="Idle timeout (minutes)"), 90), (theirs.Integer("idle_timeout_minutes"), 90),
        (theirs.Float("idle_timeout", label="Hours until it ends"), 1.5), (theirs.Integer("idle_timeout_seconds"), 5400),
    ],
)  # fmt: skip
def test_a_time_is_counted_as_label_or_name_say_else_in_seconds(field: theirs.Field, sent: float):
    assert one(field).seconds(Duration("1h30m"), None) == sent


def test_a_time_between_two_whole_units_is_refused():
    hours = one(theirs.Integer("idle_timeout", label="Idle timeout (hours)"))
    assert (
        refusal(hours.seconds, Duration("1h30m"), None)
        == "idle_timeout counts whole hours there; 1 or 2 hours can be had"
    )


@watch
@given(st.integers(1, 10**7), st.sampled_from(sorted(TIME_UNITS)))
def test_a_whole_number_of_times_is_the_very_time_or_is_refused(seconds: int, unit: str):
    time, asked = one(theirs.Integer("t")), Duration(f"{seconds}s")
    if seconds % TIME_UNITS[unit]:
        assert "counts whole" in refusal(time.seconds, asked, unit)
    else:
        assert time.seconds(asked, unit) * TIME_UNITS[unit] == seconds
