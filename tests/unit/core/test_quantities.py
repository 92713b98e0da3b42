"""Bytes and durations: what is accepted, what is refused and in which words, and that nothing is lost in printing."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import pickle
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from clusterhub.quantities import LARGEST_BYTES, LARGEST_DURATION, Bytes, Duration

DISAGREE = "tools disagree on"
UNIT_MISSING = "the unit is missing"
NOT_BYTES = "not an amount of memory"
NOT_DURATION = "not a duration"


def short(value: object) -> str | None:
    """An id for the test's name; None leaves it to pytest."""
    return f"{value[:12]}…" if isinstance(value, str) and len(value) > 40 else None


class Model(BaseModel):
    memory: Bytes
    walltime: Duration


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("16 GiB", 16 * 2**30),
        ("16GiB", 16 * 2**30),
        ("8 gib", 8 * 2**30),
        ("8gb", 8 * 10**9),
        ("8GB", 8 * 10**9),
        ("1 kB", 1000),
        ("1 KB", 1000),
        ("1 KiB", 1024),
        ("1.5 GiB", 3 * 2**29),
        ("0.5 TB", 5 * 10**11),
        ("1 B", 1),
        ("  8 GiB\n", 8 * 2**30),
        ("1024 PiB", LARGEST_BYTES),
        ("1152921504606846976 B", LARGEST_BYTES),
    ],
)
def test_memory_with_a_unit_is_taken(text, size):
    assert Bytes.parse(text) == size


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("16", [UNIT_MISSING, "16 GiB", "16 MiB"]),
        (16, [UNIT_MISSING, "16 GiB"]),
        (1.5, [UNIT_MISSING, "1.5 GiB"]),
        ("8G", [DISAGREE, "'G'", "8 GiB", "8 GB", "1024", "1000"]),
        ("8g", [DISAGREE, "'g'", "8 GiB", "8 GB"]),
        ("512M", [DISAGREE, "512 MiB", "512 MB"]),
        ("8Gi", ["unknown unit 'Gi'", "GiB"]),
        ("8 XB", ["unknown unit 'XB'", "GiB"]),
        ("2 EiB", ["unknown unit 'EiB'"]),
        ("nan", [NOT_BYTES, "16 GiB"]),
        ("inf GiB", [NOT_BYTES]),
        (math.nan, [NOT_BYTES]),
        (math.inf, [NOT_BYTES]),
        ("-1GB", [NOT_BYTES, "positive"]),
        ("+1GB", [NOT_BYTES]),
        ("1e3 GiB", [NOT_BYTES]),
        (".5 GiB", [NOT_BYTES]),
        ("1_0 GiB", [NOT_BYTES]),
        ("٣ GiB", [NOT_BYTES]),
        ("３ GiB", [NOT_BYTES]),
        ("8 GiB 8", [NOT_BYTES]),
        ("", [NOT_BYTES]),
        ("   ", [NOT_BYTES]),
        ("GiB", [NOT_BYTES]),
        ("0B", ["more than 0"]),
        ("0.0 GiB", ["more than 0"]),
        ("0.4 B", ["more than 0"]),
        ("1025 PiB", ["larger than any machine", "unit"]),
        ("1" + "0" * 400 + " GiB", ["larger than any machine"]),
        ("1" + "0" * 5000 + ".0 GiB", ["larger than any machine"]),
        (True, [NOT_BYTES]),
        (None, [NOT_BYTES]),
        ([], [NOT_BYTES]),
        (b"8GB", [NOT_BYTES]),
    ],
    ids=short,
)
def test_memory_that_could_be_misread_is_refused_with_what_to_write(text, words):
    with pytest.raises(ValueError, match=".") as refused:
        Bytes.parse(text)
    assert all(word in str(refused.value) for word in words), str(refused.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12h", 43200),
        ("30m", 1800),
        ("90s", 90),
        ("2d", 172800),
        ("1h30m", 5400),
        ("1d2h3m4s", 93784),
        ("1.5h", 5400),
        ("0.5s", 0.5),
        ("1 h 30 m", 5400),
        (" 12h ", 43200),
        ("12:00:00", 43200),
        ("99:00:00", 356400),
        ("2-00:00:00", 172800),
        ("0-00:00:01", 1),
        ("3650d", LARGEST_DURATION),
    ],
)
def test_a_duration_with_its_unit_is_taken(text, seconds):
    assert Duration.parse(text) == seconds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("12", [UNIT_MISSING, "12s", "12m", "12:00:00"]),
        (12, [UNIT_MISSING, "12s"]),
        (1.5, [UNIT_MISSING, "1.5s"]),
        ("-3", [UNIT_MISSING]),
        ("12:00", ["hours or minutes", "12h00m", "12m00s"]),
        ("1m1h", [NOT_DURATION, "largest first", "1h30m"]),
        ("1h1h", [NOT_DURATION, "once"]),
        ("1h30", [NOT_DURATION]),
        ("12 parsecs", [NOT_DURATION, "12h", "30m", "12:00:00"]),
        ("12H", [NOT_DURATION]),
        ("-3h", [NOT_DURATION]),
        ("never", [NOT_DURATION]),
        ("HH:MM:SS", [NOT_DURATION]),
        ("1:60:00", [NOT_DURATION]),
        ("1:00:60", [NOT_DURATION]),
        ("1:2:3:4", [NOT_DURATION]),
        ("1-2-00:00:00", [NOT_DURATION]),
        ("٣h", [NOT_DURATION]),
        ("12:٠٠:00", [NOT_DURATION]),
        ("1e400", [NOT_DURATION]),
        ("1e400s", [NOT_DURATION]),
        ("nan", [NOT_DURATION]),
        (math.nan, [NOT_DURATION]),
        (math.inf, [NOT_DURATION]),
        ("", [NOT_DURATION]),
        ("0s", ["longer than 0"]),
        ("00:00:00", ["longer than 0"]),
        ("0.0000001s", ["longer than 0"]),
        ("3651d", ["ten years", "unit"]),
        ("9" * 400 + "h", ["ten years"]),
        (True, [NOT_DURATION]),
        (None, [NOT_DURATION]),
        ([], [NOT_DURATION]),
    ],
    ids=short,
)
def test_a_duration_that_could_be_misread_is_refused_with_what_to_write(text, words):
    with pytest.raises(ValueError, match=".") as refused:
        Duration.parse(text)
    assert all(word in str(refused.value) for word in words), str(refused.value)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("16 GiB", "16 GiB"),
        ("16384 MiB", "16 GiB"),
        ("8GB", "8 GB"),
        ("120GB", "120 GB"),
        ("7.5 GiB", "7680 MiB"),
        ("1 B", "1 B"),
        ("1001 B", "1001 B"),
    ],
)
def test_memory_prints_as_a_person_would_write_it(text, printed):
    assert str(Bytes(text)) == printed


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("12h", "12h"),
        ("12:00:00", "12h"),
        ("48h", "2d"),
        ("90s", "1m30s"),
        ("0.5s", "0.5s"),
        ("60.25s", "1m0.25s"),
        ("1.5h", "1h30m"),
    ],
)
def test_a_duration_prints_as_a_person_would_write_it(text, printed):
    assert str(Duration(text)) == printed


@pytest.mark.parametrize(
    ("text", "clock"),
    [
        ("12h", "12:00:00"),
        ("90s", "00:01:30"),
        ("4d3h", "99:00:00"),
        ("5d", "120:00:00"),
        ("0.2s", "00:00:01"),
        ("59.5s", "00:01:00"),
    ],
)
def test_the_clock_form_is_what_batch_systems_read_and_never_too_short(text, clock):
    assert Duration(text).clock == clock


def test_about_rounds_for_people():
    assert Bytes("8GB").about() == "7.45 GiB"


byte_counts = st.integers(1, LARGEST_BYTES).map(Bytes)
durations = st.integers(1, LARGEST_DURATION * 10**6).map(lambda us: Duration(round(us / 10**6, 6)))


@given(byte_counts)
def test_printed_memory_parses_back_to_the_same(size):
    assert Bytes.parse(str(size)) == size


@given(durations)
def test_a_printed_duration_parses_back_to_the_same(span):
    assert Duration.parse(str(span)) == span


@given(durations)
def test_a_duration_as_a_clock_parses_back_to_its_whole_seconds(span):
    if math.ceil(span) <= LARGEST_DURATION:
        assert Duration.parse(span.clock) == math.ceil(span)


@given(byte_counts, durations)
def test_quantities_cross_json_unchanged(size, span):
    model = Model(memory=size, walltime=span)
    assert Model.model_validate_json(model.model_dump_json()) == model


@given(byte_counts, durations)
def test_quantities_survive_pickling_and_copying(size, span):
    for value in (size, span):
        for again in (pickle.loads(pickle.dumps(value)), copy.copy(value), copy.deepcopy(value)):
            assert (type(again), again) == (type(value), value)


TEXTS = st.one_of(
    st.text(),
    st.from_regex(r"[0-9+\-.eE_]{1,12} ?[a-zA-Z]{0,4}"),
    st.from_regex(r"[0-9:\-. smhd]{1,16}"),
    st.integers(),
    st.floats(),
    st.none(),
    st.booleans(),
    st.binary(),
    st.lists(st.integers()),
)


@given(TEXTS)
def test_any_value_is_memory_or_a_value_error(value):
    with contextlib.suppress(ValueError):
        assert 0 < Bytes.parse(value) <= LARGEST_BYTES


@given(TEXTS)
def test_any_value_is_a_duration_or_a_value_error(value):
    with contextlib.suppress(ValueError):
        assert 0 < Duration.parse(value) <= LARGEST_DURATION


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("quantity", [Bytes, Duration])
def test_a_number_too_long_to_print_is_refused_like_any_other(quantity, sign):
    with pytest.raises(ValueError, match="unit is missing"):
        quantity.parse(sign * 10**5000)


@given(st.from_regex(r" ?[0-9]{1,2}(\.5)? ?([smhd]|[kMG]i?B|:[0-9]{2}){1,2}( ?[0-9] ?[ms])? ?", fullmatch=True))
def test_what_is_accepted_matches_the_schemas_pattern(text):
    """Else an editor would mark as wrong what works."""
    for quantity in (Bytes, Duration):
        try:
            quantity.parse(text)
        except ValueError:
            continue
        assert re.search(quantity.pattern, text), (quantity, text)


def test_the_schema_has_a_pattern_that_fits_its_own_examples():
    for field in Model.model_json_schema()["properties"].values():
        assert all(re.search(field["pattern"], example) for example in field["examples"])


@pytest.mark.parametrize("value", ["16", 16, "8G", None])
def test_a_model_refuses_what_the_parser_refuses(value):
    with pytest.raises(ValidationError, match="memory"):
        Model(memory=value, walltime="1h")


def test_a_model_writes_quantities_as_text():
    written: dict[str, Any] = json.loads(Model(memory="8 GiB", walltime="12:00:00").model_dump_json())
    assert written == {"memory": "8 GiB", "walltime": "12h"}


def test_quantities_compute_as_numbers():
    assert (Bytes("1 GiB") // 2**20, Duration("1h") / 60) == (1024, 60.0)


@pytest.mark.parametrize(
    ("whole", "count", "part", "exact"),
    [
        ("120 GB", 6, "20 GB", True),
        ("120 GiB", 6, "20 GiB", True),
        ("100 GB", 8, "12500 MB", True),
        ("16 GiB", 3, "5461 MiB", False),
        ("100 GB", 6, "16666 MB", False),
        ("3 B", 2, "1 B", False),
        ("1 B", 5, "1 B", False),
    ],
)
def test_a_share_is_no_more_than_its_part_and_can_be_read(whole: str, count: int, part: str, exact: bool) -> None:
    assert Bytes(whole).share(count) == (Bytes(part), exact)
