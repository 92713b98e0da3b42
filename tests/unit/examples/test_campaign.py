"""docs/examples/campaign.py, held against the same thing done one after the other, in plain pandas."""

from __future__ import annotations

import threading
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import campaign
import numpy as np
import pandas as pd
import pytest
from dask import SingletonExpr
from distributed import Client

KINDS = [0.005, 0.05]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0") as client:
        yield client


def asked(store: str | None = None) -> Namespace:
    return Namespace(
        altitudes=range(300, 701, 100), horizon=1.2, years=1.0, parts=2, closer=1, runs=12, store=store
    )  # fmt: skip


def plainly(kind: float, altitudes: range) -> pd.DataFrame:
    """The table of one simulation, from its runs."""
    rows = []
    for altitude in altitudes:
        days = np.concatenate(
            [
                campaign.lifetimes(
                    kind, altitude, 12, 1.2, np.random.default_rng([5, round(kind * 1e6), altitude, part])
                )
                for part in range(2)
            ]
        )
        rows.append((altitude, len(days), int((days <= 365).sum()), int(days.sum())))
    return pd.DataFrame(rows, columns=["altitude", "runs", "in_time", "days"]).set_index("altitude")


def test_a_campaign_is_two_simulations_of_which_the_first_decides_the_second(client: Client) -> None:
    run = campaign.Campaign(client, asked())
    run.run(KINDS)
    for kind in KINDS:
        first = plainly(kind, range(300, 701, 100))
        pd.testing.assert_frame_equal(run.tables[kind, 1], first, check_dtype=False)
        closer = campaign.closer_look(first)
        assert len(closer) == 9
        pd.testing.assert_frame_equal(run.tables[kind, 2], plainly(kind, closer), check_dtype=False)


def test_files_in_a_store_and_texts_in_memory_give_the_same(client: Client, tmp_path: Path) -> None:
    kept, written = campaign.Campaign(client, asked()), campaign.Campaign(client, asked(str(tmp_path)))
    kept.run(KINDS)
    written.run(KINDS)
    assert campaign.digest(kept.tables) == campaign.digest(written.tables)
    files = sorted(tmp_path.rglob("*"))
    assert len([file for file in files if file.suffix == ".csv"]) == 2 * 2 * (5 + 9)  # kinds, parts, altitudes
    assert not [file for file in files if file.is_file() and file.suffix != ".csv"]


def test_no_other_thread_of_this_process_has_to_do_with_the_expressions_of_a_dataframe(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rarely, a scheduler in this process ended with "Error during deserialization of the task graph": see dask.SingletonExpr."""
    makers = set()
    new = SingletonExpr.__new__

    def noted(cls: type[SingletonExpr], *operands: Any, **named: Any) -> Any:
        makers.add(threading.current_thread())
        return new(cls, *operands, **named)

    monkeypatch.setattr(SingletonExpr, "__new__", noted)
    campaign.Campaign(client, asked()).run(KINDS)
    assert makers == {threading.current_thread()}


def test_what_goes_wrong_in_a_simulation_ends_the_campaign_and_is_said(client: Client) -> None:
    wrong = asked(store="nosuch://place")
    with pytest.raises(ValueError, match="Protocol not known: nosuch"):
        campaign.Campaign(client, wrong).run(KINDS)


def table(**in_time: int) -> pd.DataFrame:
    """Of ten runs from each altitude."""
    return pd.DataFrame({"runs": 10, "in_time": in_time.values()}, index=[int(name[1:]) for name in in_time])


@pytest.mark.parametrize(
    ("first", "closer"),
    [
        (table(a300=10, a400=9, a500=8), range(410, 500, 10)),
        (table(a300=8, a400=9, a500=8), range(0)),  # not even from the lowest
        (table(a300=10, a400=10, a500=9), range(0)),  # from all of them
        (table(a300=10, a400=8, a500=9), range(310, 400, 10)),  # from everywhere below, by chance not from one between
    ],
)
def test_the_second_simulation_looks_between_the_last_good_altitude_and_the_next(
    first: pd.DataFrame, closer: range
) -> None:
    assert campaign.closer_look(first) == closer


def test_the_digest_is_that_of_the_numbers_and_not_of_their_order() -> None:
    one, other = table(a300=10, a400=9), table(a300=8, a400=7)
    assert campaign.digest({(0.1, 1): one, (0.1, 2): other}) == campaign.digest({(0.1, 2): other, (0.1, 1): one})
    assert campaign.digest({(0.1, 1): one}) != campaign.digest({(0.1, 1): other})


def test_a_large_light_satellite_comes_down_sooner_than_a_small_heavy_one() -> None:
    light, heavy = (
        campaign.lifetimes(kind, 400, 20, 5.0, np.random.default_rng(0)) for kind in (0.05, 0.005)
    )  # fmt: skip
    assert np.median(light) < np.median(heavy) <= 5 * 365.25 + 1
