"""How close do satellites come to one another, when their orbits are known only roughly? A Monte Carlo of orbits.

The satellites are those of SGP4's own verification set, as the PyPI package sgp4 carries it, whose elements are of June 2006.
Each sample disperses the elements of all of them by the errors that elements have after some days, follows them together, and
finds the closest approach of each pair. What thousands of jobs used to write to small files stays in the workers' memory, where
any number of questions can be asked of it.
"""

from __future__ import annotations

import argparse
import hashlib
from importlib.resources import files

import dask
import dask.array as da
import numpy as np
from dask.distributed import Client
from sgp4.api import WGS72, Satrec, SatrecArray

BEGIN = 2453913.5  # Julian day of 2006-06-27, 0 h, soon after the last of the elements
SATREC_EPOCH = 2433281.5  # what sgp4init counts days from
LATEST = 12.0  # days; older elements than that say little about where a satellite is
INVENTED = ("33333", "33334", "33335")  # by the set's authors, to try what SGP4 says of impossible elements
STEP = 30.0  # seconds between two positions; what lies between is found as they pass one another
CLOSE = 100_000  # metres
NEVER = np.iinfo(np.int64).max  # one of the two could not be followed
MU = 398_600.8  # km³/s², as WGS72 has it
SEED = 2006

# One standard deviation of what elements are wrong by after some days: 25 km along the orbit, 1 km across it.
DISPERSION = {
    "bstar": 0.2,  # of itself
    "ecco": 1e-4,
    "argpo": np.deg2rad(0.01),
    "inclo": np.deg2rad(0.01),
    "mo": np.deg2rad(0.2),
    "nodeo": np.deg2rad(0.01),
}


def catalogue() -> list[tuple[str, str]]:
    """The two lines of each satellite that can be followed from its elements to a week after ``BEGIN``."""
    lines = files("sgp4").joinpath("SGP4-VER.TLE").read_text().splitlines()
    firsts = [line[:69] for line in lines if line.startswith("1 ")]
    seconds = [line[:69] for line in lines if line.startswith("2 ")]
    real = [pair for pair in zip(firsts, seconds, strict=True) if pair[0][2:7] not in INVENTED]
    return [pair for pair in real if is_fresh(Satrec.twoline2rv(*pair))]


def is_fresh(satellite: Satrec) -> bool:
    age = BEGIN - satellite.jdsatepoch - satellite.jdsatepochF
    ends_well = all(satellite.sgp4(BEGIN, day)[0] == 0 for day in range(8))
    return 0 <= age <= LATEST and ends_well


def dispersed(satellite: Satrec, rng: np.random.Generator) -> Satrec:
    """The satellite, on one of the orbits that it may be on."""
    wrong = {name: sigma * rng.standard_normal() for name, sigma in DISPERSION.items()}
    orbit = Satrec()
    orbit.sgp4init(
        WGS72,
        "i",
        satellite.satnum,
        satellite.jdsatepoch + satellite.jdsatepochF - SATREC_EPOCH,
        satellite.bstar * (1 + wrong["bstar"]),
        satellite.ndot,
        satellite.nddot,
        abs(satellite.ecco + wrong["ecco"]),
        satellite.argpo + wrong["argpo"],
        satellite.inclo + wrong["inclo"],
        satellite.mo + wrong["mo"],
        satellite.no_kozai,
        satellite.nodeo + wrong["nodeo"],
    )
    return orbit


def followed(orbits: list[Satrec], days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities at so many days after ``BEGIN``, in m and m/s; no place at all where SGP4 gives up."""
    wrong, position, velocity = SatrecArray(orbits).sgp4(np.full(len(days), BEGIN), days)
    position[wrong != 0] = np.inf
    return position * 1000, velocity * 1000


def closest(orbits: list[Satrec], days: np.ndarray) -> np.ndarray:
    """The distance of each pair at its closest approach, in whole metres: far finer than SGP4 is true to, and sums are exact."""
    position, velocity = followed(orbits, days)
    distances = []
    for one in range(len(orbits) - 1):
        for other in range(one + 1, len(orbits)):
            nearest = nearest_time(position[other] - position[one], velocity[other] - velocity[one], days)
            distances.append(refined(orbits[one], orbits[other], days, nearest))
    return np.array(distances, dtype=np.int64)


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]


def nearest_time(apart: np.ndarray, relative: np.ndarray, days: np.ndarray) -> float:
    """When they are nearest, in days: between two positions they pass one another on straight lines."""
    with np.errstate(invalid="ignore"):  # of those that are nowhere
        until = np.clip(-dot(apart, relative) / dot(relative, relative), -STEP / 2, STEP / 2)
        passing = apart + relative * until[:, None]
        distance = np.nan_to_num(dot(passing, passing), nan=np.inf)
    best = int(np.argmin(distance))
    return float(np.clip(days[best] + np.nan_to_num(until[best]) / 86400, days[0], days[-1]))


def refined(one: Satrec, other: Satrec, days: np.ndarray, day: float) -> int:
    """Their distance at the approach near that day: Newton's method, on the orbits themselves."""
    distance = np.inf
    for _ in range(4):
        (wrong, here, speed), (also, there, velocity) = one.sgp4(BEGIN, day), other.sgp4(BEGIN, day)
        if wrong or also:
            return int(NEVER)
        apart, relative = np.subtract(there, here), np.subtract(velocity, speed)
        distance = min(distance, float(np.sqrt(dot(apart, apart))))
        slope = float(dot(apart, relative))
        curvature = float(dot(relative, relative) + dot(apart, gravity(there) - gravity(here)))
        if curvature <= 0:  # they only become nearer, or farther: the begin or the end was it
            break
        day = float(np.clip(day - slope / curvature / 86400, days[0], days[-1]))
    return round(distance * 1000)


def gravity(place: tuple[float, float, float]) -> np.ndarray:
    """The Earth's, in km/s²."""
    return -MU * np.asarray(place) / np.linalg.norm(place) ** 3


def approaches(elements: list[tuple[str, str]], first: int, count: int, days: float) -> np.ndarray:
    """The closest approach of every pair in samples ``first`` to ``first + count``: one task, one row for each sample.

    Each sample has a seed of its own, so that it is the same whichever worker computes it, how often, and with which others.
    """
    satellites = [Satrec.twoline2rv(*pair) for pair in elements]
    times = np.arange(0, days, STEP / 86400)
    rows = []
    for sample in range(first, first + count):
        rng = np.random.default_rng([SEED, sample])
        rows.append(closest([dispersed(satellite, rng) for satellite in satellites], times))
    return np.stack(rows)


def sampled(elements: list[tuple[str, str]], samples: int, batch: int, days: float) -> da.Array:
    """All samples as one array, sample × pair, of which each task makes a few rows."""
    pairs = len(elements) * (len(elements) - 1) // 2
    task = dask.delayed(approaches, pure=True)
    blocks = []
    for first in range(0, samples, batch):
        count = min(batch, samples - first)
        rows = task(elements, first, count, days)
        blocks.append(da.from_delayed(rows, shape=(count, pairs), dtype=np.int64))
    return da.concatenate(blocks)


def quantiles(distances: np.ndarray) -> np.ndarray:
    """Within which one sample in twenty, and one in two, come; samples themselves, so that nothing is rounded."""
    return np.quantile(distances, [0.05, 0.5], axis=0, method="inverted_cdf")


def asked_of(distances: da.Array) -> tuple[da.Array, da.Array, da.Array]:
    """Three questions: the nearest approach of each pair, how many samples come close, and the quantiles.

    The last needs all samples of a pair in one place, so the array is cut the other way for it.
    """
    by_pair = distances.rechunk((-1, 16))
    within = by_pair.map_blocks(quantiles, dtype=np.int64, chunks=((2,), by_pair.chunks[1]))
    return distances.min(axis=0), (distances < CLOSE).sum(axis=0), within


def digest(*results: np.ndarray) -> str:
    """The same for the same numbers."""
    return hashlib.sha256(b"".join(np.asarray(result, dtype="<i8").tobytes() for result in results)).hexdigest()[:16]


def table(
    elements: list[tuple[str, str]], samples: int, nearest: np.ndarray, close: np.ndarray, within: np.ndarray
) -> str:
    """The pairs that come closest most often."""
    names = [first[2:7] for first, _ in elements]
    pairs = [(one, other) for index, one in enumerate(names) for other in names[index + 1 :]]
    lines = ["pair              nearest   1 in 20 within   1 in 2 within   below 100 km"]
    for index in sorted(range(len(pairs)), key=lambda index: (-close[index], nearest[index]))[:8]:
        one, other = pairs[index]
        often, half = within[:, index] / 1000
        share = close[index] / samples
        lines.append(f"{one} – {other} {nearest[index] / 1000:8.1f} km {often:10.0f} km {half:12.0f} km {share:14.1%}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--samples", type=int, default=2000, help="how often all satellites are dispersed (%(default)s)"
    )
    parser.add_argument("--days", type=float, default=7.0, help="how long they are followed, up to 7 (%(default)s)")
    parser.add_argument("--batch", type=int, default=10, help="samples in one task (%(default)s)")
    asked = parser.parse_args()

    elements = catalogue()
    with Client() as client:
        # In the workers' memory from here on: what follows propagates nothing any more.
        distances = client.persist(sampled(elements, asked.samples, asked.batch, asked.days))
        nearest, close, within = dask.compute(*asked_of(distances))

    orbits = asked.samples * len(elements)
    print(f"{orbits:,} orbits of {len(elements)} satellites, followed for {asked.days:g} days from 2006-06-27")
    print(table(elements, asked.samples, nearest, close, within))
    print("digest", digest(nearest, close, within))


if __name__ == "__main__":
    main()
