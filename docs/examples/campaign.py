"""From how high does a satellite still come down within the years that it may stay? A campaign of two simulations.

The first simulation lets satellites of several kinds decay from a coarse grid of altitudes, many times each, as nobody knows how
strong the next solar cycles are. It is a program that writes CSV. What it wrote is read back as a dask dataframe and reduced by
altitude. That decides, for each kind, between which two altitudes the second simulation has to look closer. No kind waits for
another: the second simulation of one runs beside the first of others.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import math
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import dask
import dask.dataframe as dd
import fsspec
import numpy as np
import pandas as pd
from dask.distributed import Client, Future, as_completed

EARTH, MU = 6_371_000.0, 3.986004418e14  # m, m³/s²
REENTRY = 180.0  # km, below which it is a matter of hours
CYCLE = 11.0  # years, of the sun
DRAG = 2.2  # the coefficient that satellites without a form to speak of are given
FINE = 10  # km
SHARE = 0.9  # of the runs that have to come down in time
SEED = 5


# --- The simulator, which could be any program: it is told what to do, and writes a file


def density(altitude: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """Of the air in kg/m³ at altitudes in km, by the sun's radio flux at 10.7 cm.

    The model of the Australian Space Weather Services ("Satellite Orbital Decay Calculations", 1999) at a quiet magnetic
    field. It is made for up to 500 km and goes further here: put NRLMSIS in its place where the years matter.
    """
    temperature = 900 + 2.5 * (flux - 70) + 1.5 * 10
    scale_height = temperature / (27 - 0.012 * (altitude - 200))
    return 6e-10 * np.exp(-(altitude - 175) / scale_height)


def lifetimes(area_to_mass: float, altitude: float, runs: int, years: float, rng: np.random.Generator) -> np.ndarray:
    """Days until reentry from a circular orbit, for each run; ``years`` and a day for those that are still up then."""
    strength = np.clip(rng.normal(70, 25, runs), 20, 140)  # of the cycles: what the flux gains at their maximum
    phase = rng.uniform(0, 1, runs)  # of the cycle at the begin
    ballistic = DRAG * area_to_mass * np.exp(rng.normal(0, 0.15, runs))
    height, last = np.full(runs, float(altitude)), int(years * 365.25)
    days = np.full(runs, last + 1)
    for day in range(last + 1):
        flux = 70 + strength * np.sin(math.pi * (phase + day / 365.25 / CYCLE)) ** 2
        axis = EARTH + height * 1000
        fall = 86400 * density(height, flux) * ballistic * np.sqrt(MU * axis)  # metres within the day
        height = np.maximum(height - fall / 1000, 0.0)
        down = (height < REENTRY) & (days > last)
        days[down] = day + 1
        if (days <= last).all():
            break
    return days


def run_simulator(path: Path, area_to_mass: float, altitude: int, part: int, runs: int, years: float) -> None:
    """Writes one file, of so many runs from one altitude. The same arguments write the same file, wherever and whenever."""
    rng = np.random.default_rng([SEED, round(area_to_mass * 1e6), altitude, part])
    days = lifetimes(area_to_mass, altitude, runs, years, rng)
    pd.DataFrame({"altitude": altitude, "run": range(part * runs, (part + 1) * runs), "days": days}).to_csv(
        path, index=False
    )


# --- Tasks


def simulate(store: str | None, area_to_mass: float, altitude: int, part: int, runs: int, years: float) -> str:
    """Runs the simulator in a folder of its own, and keeps what it wrote: its URL in the store, or else the text itself."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "lifetimes.csv")
        run_simulator(path, area_to_mass, altitude, part, runs, years)
        text = path.read_text()
    return text if store is None else stored(text, f"{store}/{area_to_mass:.4f}/{altitude}-{part}-{runs}.csv")


def stored(text: str, url: str) -> str:
    """Writes the text to that URL at once, or not at all: a task may run twice, and one may read what its first run wrote."""
    files, path = fsspec.url_to_fs(url)
    files.makedirs(path.rpartition("/")[0], exist_ok=True)
    files.pipe_file(unfinished := f"{path}.{uuid.uuid4().hex}", text.encode())
    files.mv(unfinished, path)
    return url


def read(written: str) -> pd.DataFrame:
    """One file of the simulator, from the store or from memory."""
    return pd.read_csv(io.StringIO(written) if "\n" in written else written)


def by_altitude(written: list[Future], years: float) -> dd.DataFrame:
    """How many runs there were from each altitude, how many came down in time, and the days they all took, lazily.

    All are whole numbers, so that their sums are the same in whatever order they are summed.
    """
    task = dask.delayed(read, pure=True)
    empty = pd.DataFrame(
        {"altitude": pd.Series(dtype="int64"), "run": pd.Series(dtype="int64"), "days": pd.Series(dtype="int64")}
    )
    runs = dd.from_delayed([task(each) for each in written], meta=empty, verify_meta=False)
    runs = runs.assign(runs=1, in_time=(runs.days <= int(years * 365.25)).astype("int64"))
    # There are few altitudes: one table of them needs no shuffle among the workers.
    return runs.groupby("altitude")[["runs", "in_time", "days"]].sum(split_out=1)


# --- The campaign


@dataclass
class Stage:
    """One simulation of one kind of satellite: the files that are to come, and what was made of them."""

    area_to_mass: float
    number: int
    files: list[Future]
    missing: int = field(init=False)

    def __post_init__(self) -> None:
        self.missing = len(self.files)


def last_in_time(table: pd.DataFrame) -> int | None:
    """The highest altitude up to which, from everywhere, enough runs come down in time; None where there is none."""
    enough = (table.in_time >= SHARE * table.runs).cummin()
    return int(table.index[enough].max()) if enough.any() else None


def closer_look(table: pd.DataFrame) -> range:
    """The altitudes of the second simulation: between the last that is good and the next. Empty where all or none are good."""
    good = last_in_time(table)
    if good is None or good == table.index.max():
        return range(0)
    return range(good + FINE, int(table.index[table.index > good].min()), FINE)


class Campaign:
    """Submits what is known to be needed, and hears of what is done."""

    def __init__(self, client: Client, asked: argparse.Namespace) -> None:
        self.client, self.asked = client, asked
        self.done = as_completed()
        self.stages: dict[str, Stage] = {}  # by the key of each of its files, and of its table
        self.tables: dict[tuple[float, int], pd.DataFrame] = {}
        self.begun_early = 0  # second simulations that began before all first ones were over

    def run(self, kinds: list[float]) -> None:
        """Until nothing is left to do."""
        for area_to_mass in kinds:
            self.simulate(area_to_mass, 1, self.asked.altitudes, self.asked.parts)
        for future in self.done:
            stage = self.stages.pop(future.key)
            if future.status != "finished":
                future.result()  # raises what went wrong
            if stage.missing:
                self.file_is_there(stage)
            else:
                self.table_is_there(stage, future.result().sort_index())

    def simulate(self, area_to_mass: float, number: int, altitudes: range, parts: int) -> None:
        asked = self.asked
        store = asked.store and f"{asked.store}/stage{number}"
        files = [
            # What was begun is finished first: so the second simulation of a kind goes before the first of others.
            self.client.submit(
                simulate, store, area_to_mass, altitude, part, asked.runs, asked.horizon, priority=number
            )
            for altitude in altitudes
            for part in range(parts)
        ]
        self.follow(Stage(area_to_mass, number, files), *files)

    def follow(self, stage: Stage, *futures: Future) -> None:
        self.stages |= {future.key: stage for future in futures}
        self.done.update(futures)

    def file_is_there(self, stage: Stage) -> None:
        stage.missing -= 1
        if stage.missing == 0:
            # As a task of its own, and not as a dataframe. Threads of one process share the parts of a dataframe's expression by
            # weak references: the scheduler of a bare Client() may read one in the moment in which it is dropped here.
            (table,) = by_altitude(stage.files, self.asked.years).to_delayed()
            self.follow(stage, self.client.compute(table, priority=10))

    def table_is_there(self, stage: Stage, table: pd.DataFrame) -> None:
        stage.files.clear()  # the workers' memory is free again
        self.tables[stage.area_to_mass, stage.number] = table
        if stage.number == 1 and (altitudes := closer_look(table)):
            self.begun_early += any(other.number == 1 for other in self.stages.values())
            self.simulate(stage.area_to_mass, 2, altitudes, self.asked.parts * self.asked.closer)


def digest(tables: dict[tuple[float, int], pd.DataFrame]) -> str:
    """The same for the same numbers, in whatever order they came."""
    text = "".join(f"{key}{table.reset_index().to_csv(index=False)}" for key, table in sorted(tables.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def answer(tables: dict[tuple[float, int], pd.DataFrame], area_to_mass: float) -> str:
    """One line: how high that kind may be left."""
    first = tables[area_to_mass, 1]
    table = pd.concat([first, tables.get((area_to_mass, 2), first.iloc[:0])]).sort_index()
    if (highest := last_in_time(table)) is None:
        return f"{area_to_mass:14.4f}   below {table.index.min()} km"
    row = table.loc[highest]
    more = " or more" if highest == table.index.max() else ""
    return f"{area_to_mass:14.4f}   {highest} km{more:8}  {row.in_time / row.runs:6.1%} of {row.runs:,} runs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", type=int, default=12, help="how many kinds of satellites (%(default)s)")
    parser.add_argument(
        "--parts", type=int, default=8, help="files for each altitude in the first simulation (%(default)s)"
    )
    parser.add_argument("--closer", type=int, default=3, help="times as many in the second (%(default)s)")
    parser.add_argument("--runs", type=int, default=250, help="runs in each file (%(default)s)")
    parser.add_argument("--years", type=float, default=5.0, help="how long they may stay up (%(default)s)")
    parser.add_argument(
        "--coarse", type=int, default=50, metavar="KM", help="step of the first simulation (%(default)s)"
    )
    parser.add_argument(
        "--store",
        metavar="URL",
        help="where the files go, if all workers can write and read there: a shared folder, or s3://… (kept in memory)",
    )
    asked = parser.parse_args()
    if asked.store and "://" not in asked.store:
        asked.store = str(Path(asked.store).absolute())  # workers run somewhere else
    asked.altitudes, asked.horizon = range(300, 851, asked.coarse), 1.2 * asked.years
    kinds = [round(float(kind), 4) for kind in np.geomspace(0.003, 0.1, asked.kinds)]

    with Client() as client:
        campaign = Campaign(client, asked)
        campaign.run(kinds)

    print(f"left no higher than this, {SHARE:.0%} are down within {asked.years:g} years")
    print("m²/kg of a kind   altitude")
    for kind in kinds:
        print(answer(campaign.tables, kind))
    print(f"{campaign.begun_early} second simulations began before the first ones were over")
    print("digest", digest(campaign.tables))


if __name__ == "__main__":
    main()
