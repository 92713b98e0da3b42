"""docs/examples/orbits.py, held against the same thing done plainly."""

from __future__ import annotations

from itertools import combinations

import dask
import numpy as np
import orbits
import pytest
from sgp4.api import WGS72, Satrec

ELEMENTS = orbits.catalogue()
DAYS = 0.2


@pytest.fixture(autouse=True)
def _in_this_thread() -> object:
    with dask.config.set(scheduler="sync"):
        yield


def test_the_satellites_are_those_that_can_be_followed_through_the_week() -> None:
    assert len(ELEMENTS) > 10
    for pair in ELEMENTS:
        satellite = Satrec.twoline2rv(*pair)
        assert satellite.sgp4(orbits.BEGIN, 7.0)[0] == 0
        assert not set(orbits.INVENTED) & {pair[0][2:7]}


def test_a_sample_is_the_same_however_many_are_in_one_task() -> None:
    alone = orbits.sampled(ELEMENTS, 5, 1, DAYS).compute()
    assert alone.shape == (5, len(ELEMENTS) * (len(ELEMENTS) - 1) // 2)
    assert np.array_equal(alone, orbits.sampled(ELEMENTS, 5, 2, DAYS).compute())
    assert not np.array_equal(alone[0], alone[1])


def test_the_closest_approach_of_each_pair_is_what_looking_every_fifth_of_a_second_finds() -> None:
    satellites = [Satrec.twoline2rv(*pair) for pair in ELEMENTS]
    times = np.arange(0, 1, orbits.STEP / 86400)
    found = orbits.closest(satellites, times)

    places = orbits.followed(satellites, np.arange(0, times[-1], 0.2 / 86400))[0]
    seen = [np.linalg.norm(other - one, axis=-1).min() for one, other in combinations(places, 2)]
    assert found == pytest.approx(np.array(seen), abs=5)  # metres


def test_an_orbit_that_decays_is_nowhere_and_comes_close_to_nothing() -> None:
    satellite, other = (Satrec.twoline2rv(*pair) for pair in ELEMENTS[:2])
    gone = Satrec()
    gone.sgp4init(WGS72, "i", 1, satellite.jdsatepoch - 2433281.5, 10.0, 0, 0, 0.5, 0, 1, 0, 0.06, 0)
    times = np.array([6.0, 6.5])
    assert np.isinf(orbits.followed([gone], times)[0]).all()
    assert orbits.closest([gone, other], times)[0] == orbits.NEVER


def test_the_answers_are_numpy_s_own() -> None:
    distances = np.random.default_rng(1).integers(0, 500_000, size=(41, 37))
    array = dask.array.from_array(distances, chunks=(4, -1))
    nearest, close, within = dask.compute(*orbits.asked_of(array))
    assert np.array_equal(nearest, distances.min(axis=0))
    assert np.array_equal(close, (distances < 100_000).sum(axis=0))
    # Of 41 samples the third is the first within which 1 in 20 lies, and the 21st the middle
    assert np.array_equal(within, np.sort(distances, axis=0)[[2, 20]])


def test_a_metre_makes_another_digest() -> None:
    results = [np.arange(6), np.arange(6).reshape(2, 3)]
    assert orbits.digest(*results) == orbits.digest(*(each.astype("int32") for each in results))
    assert orbits.digest(*results) != orbits.digest(results[0] + 1, results[1])
