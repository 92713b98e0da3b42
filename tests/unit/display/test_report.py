from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from clusterhub.backend import Unit, UnitState
from clusterhub.display import Report, relay
from clusterhub.errors import Failure
from clusterhub.spec import Workers

from .conftest import NEEDS, NOW, PBS, bad, connected, pending

Make = Callable[..., Report]


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_the_headline_says_how_many_and_why_not_more(report: Make) -> None:
    soon = NOW + timedelta(minutes=125)
    told = report(
        connected(0), connected(1), pending(2, "Resources", starts=soon), pending(3, "Resources"), bad(4), bad(5)
    )
    assert told.headline == (
        "12 of 24 workers connected, 2 jobs pending (Resources; first expected 14:05), 2 failed (out of memory)"
    )


def test_reasons_that_differ_are_counted_apart(report: Make) -> None:
    told = report(pending(0, "Resources"), pending(1, "Resources"), pending(2, "Priority"))
    assert told.headline == "0 of 24 workers connected, 3 jobs pending (2 Resources, 1 Priority)"


def test_one_of_a_kind_is_singular(report: Make) -> None:
    told = report(Unit("a", UnitState.RUNNING), unit_noun="process", target=Workers.exactly(1))
    assert told.headline == "0 of 1 worker connected, 1 process running"


def test_everything_there_needs_no_more_words(report: Make) -> None:
    assert report(*map(connected, range(4))).headline == "24 of 24 workers connected"


def test_within_a_range_asked_is_what_living_units_will_bring(report: Make) -> None:
    target = Workers(minimum=0, maximum=200)
    told = report(connected(0), pending(1), bad(2), target=target)
    assert told.asked == 12
    assert told.headline.startswith("6 of 12 workers connected (adapts between 0 and 200), 1 job pending")
    assert report(target=target).headline == "no workers asked for (adapts between 0 and 200)"


def test_more_workers_than_asked_are_not_hidden(report: Make) -> None:
    assert report(connected(0), target=Workers.exactly(2)).headline == "6 of 6 workers connected"


def test_giving_up_is_said_in_the_headline(report: Make) -> None:
    failure = Failure("their python does not exist")
    assert report(bad(0), failure=failure).headline.endswith("; nothing more is launched: their python does not exist")


def test_counts_name_every_state(report: Make) -> None:
    counts = report(connected(0), bad(1)).counts
    assert set(counts) == set(UnitState)
    assert counts[UnitState.CONNECTED] == counts[UnitState.FAILED] == 1
    assert counts[UnitState.PENDING] == 0


def test_the_text_lists_units_in_trouble_first(report: Make) -> None:
    missing = bad(3, UnitState.MISSING, "runs, but its worker never came")
    assert str(report(connected(0), connected(1), pending(2), missing)).splitlines() == [
        "eddies on hal (pbs): 24 workers asked, 12 connected",
        "JOB    STATE      SINCE  WHERE   WORKERS  REASON",
        "27[3]  missing    40s    -       0/6      runs, but its worker never came",
        f"27[2]  pending    6m     -       -        {NEEDS}; {PBS}",
        "27[0]  connected  19m    node-4  6",
        "27[1]  connected  19m    node-4  6",
        "dashboard  http://127.0.0.1:8787/status",
    ]


def test_a_long_report_counts_what_it_does_not_list(report: Make) -> None:
    text = str(report(*map(connected, range(100)), bad(100), target=Workers.exactly(600)))
    assert "and 61 more jobs: 61 connected" in text
    assert "27[100]  failed" in text


def test_the_failure_stands_under_the_table_with_its_evidence(report: Make) -> None:
    failure = Failure("their python does not exist", unit="27[0]", exit_code=127, log_tail=("line 9: no such file",))
    text = str(report(bad(0), failure=failure, support="help@example.org"))
    assert "the workers of hal cannot start: their python does not exist" in text
    assert "│ line 9: no such file" in text
    assert "help@example.org" in text


def test_a_bare_backend_is_not_named_twice(report: Make) -> None:
    assert report(profile="local", backend="local").place == "eddies on local"


def test_it_is_plain_data_for_programs(report: Make) -> None:
    failure = Failure("no", log_tail=("a", "b"))
    data = json.loads(json.dumps(report(connected(0), pending(1, starts=NOW), failure=failure).to_dict()))
    assert data["counts"]["connected"] == 1
    assert data["units"][1]["starts"] == "2026-05-04T12:00:00+00:00"
    assert data["failure"]["log_tail"] == ["a", "b"]
    assert data["target"] == {"minimum": 24, "maximum": 24}


def test_a_notebook_is_shown_text_and_no_code(report: Make) -> None:
    evil = "<script>alert(1)</script>"
    link = "javascript:alert(1)"
    html = report(bad(0, reason=evil), name=evil, failure=Failure(evil), dashboard_link=link)._repr_html_()
    assert "<script>" not in html
    assert "href" not in html
    assert 'href="http://127.0.0.1:8787/status"' in report()._repr_html_()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a Jupyter server leaves for others to read; this process is its kernel."""
    pytest.importorskip("jupyter_core")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("JPY_PARENT_PID", "4711")
    monkeypatch.setattr(relay, "find_spec", lambda name: object())
    relay._base_url.cache_clear()
    return tmp_path / "jpserver-4711.json"


def test_a_dashboard_of_this_machine_also_opens_through_the_jupyter_server(report: Make, server: Path) -> None:
    server.write_text('{"base_url": "/lab2/"}')
    assert 'href="/lab2/proxy/8787/status"' in report()._repr_html_()
    assert "/lab2/" not in report(dashboard_link="http://hal:8787/status")._repr_html_()
    assert "/lab2/" not in report(dashboard_link="/user/ann/proxy/8787/status")._repr_html_()


@pytest.mark.parametrize("written", [None, "[]", "{}", "no json"])
def test_a_kernel_of_something_else_has_the_plain_link_alone(report: Make, server: Path, written: str | None) -> None:
    if written is not None:
        server.write_text(written)
    assert report()._repr_html_().count("href=") == 1
