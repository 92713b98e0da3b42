"""What will an instrument in orbit see? Many scenes in several bands, simulated finer than its pixels, become one image.

A line scanner delivers each scene in strips: some lines, over the whole width, in all bands. Each scene and band is blurred as
the optics do, counted in the pixels of the detector, and all scenes are summed, as one does to see more than noise. The scenes
are larger than the memory of all workers together; what is in memory at one time is a scene or two. Why that is so is in
`simulated`, and `--naive` shows what happens otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import sys

import dask.array as da
import numpy as np
from dask.distributed import Client, KilledWorker
from dask.utils import format_bytes
from distributed.diagnostics import MemorySampler
from scipy import ndimage

LINES = 64  # of a strip
TILE = 1024  # lines and columns
FINER = 8  # lines and columns of the simulation in one pixel of the detector
BLUR = (3.0, 3.6, 4.4, 5.2, 6.0, 7.0, 8.0)  # standard deviation by band: what diffracts more is blurred more
REACH = 24  # lines and columns over which a point is blurred
FIELD = 96  # lines and columns of a field on the ground
GAIN = 40.0  # electrons for each unit of radiance
SEED = 13


def ground(lines: np.ndarray, columns: np.ndarray, band: int) -> np.ndarray:
    """What the ground sends up: fields, each of one brightness, below a swell; by line and column of the whole scene."""
    row, column = (lines // FIELD).astype(np.uint64)[:, None], (columns // FIELD).astype(np.uint64)[None, :]
    mixed = (row * np.uint64(73856093)) ^ (column * np.uint64(19349663)) ^ np.uint64((band + 1) * 83492791)
    field = (mixed % np.uint64(1009)).astype(np.float32) / 1009
    swell = np.sin(lines / 400).astype(np.float32)[:, None] * np.cos(columns / 650).astype(np.float32)[None, :]
    return 1 + field + 0.3 * swell


def strip(scenes: int, bands: int, columns: int, block_id: tuple[int, ...]) -> np.ndarray:
    """One strip of one scene, in all bands, as it is delivered.

    Its noise has a seed of its own, so that it is the same whichever worker makes it, and how often.
    """
    scene, _, number, _ = block_id
    rng = np.random.default_rng([SEED, scene, number])
    lines = np.arange(number * LINES, (number + 1) * LINES)
    sunlight = np.float32(0.6 + 0.4 * (scene + 1) / scenes)
    radiance = np.stack([ground(lines, np.arange(columns), band) for band in range(bands)]) * sunlight
    noise = rng.standard_normal(radiance.shape, dtype=np.float32)
    return (radiance + noise * np.sqrt(radiance / GAIN))[None]


def delivered(scenes: int, bands: int, size: int) -> da.Array:
    """All scenes, scene × band × line × column, in the strips that they come in."""
    return da.map_blocks(
        strip,
        scenes,
        bands,
        size,
        chunks=((1,) * scenes, (bands,), (LINES,) * (size // LINES), (size,)),
        dtype=np.float32,
        meta=np.empty((0, 0, 0, 0), dtype=np.float32),
    )


def blurred(images: np.ndarray, sigma: float) -> np.ndarray:
    """Images as the optics show them; what lies beyond their border is as the border."""
    for axis in (-2, -1):
        images = ndimage.gaussian_filter1d(images, sigma, axis=axis, mode="nearest", radius=REACH)
    return images


def counted(images: np.ndarray) -> np.ndarray:
    """Electrons in each pixel of the detector: whole numbers, so that their sum is the same in whatever order they are summed."""
    electrons = np.rint(images * GAIN).astype(np.int64)
    *others, lines, columns = electrons.shape
    return electrons.reshape(*others, lines // FINER, FINER, columns // FINER, FINER).sum(axis=(-3, -1))


def detected(images: da.Array, sigma: float) -> da.Array:
    """One band of all scenes, as the detector counts it."""
    images = images.map_overlap(
        blurred, depth={1: REACH, 2: REACH}, boundary={1: "nearest", 2: "nearest"}, sigma=sigma, dtype=np.float32
    )
    return images.map_blocks(
        counted,
        dtype=np.int64,
        chunks=(images.chunks[0], *(tuple(size // FINER for size in sizes) for sizes in images.chunks[1:])),
    )


def simulated(scenes: da.Array, naive: bool = False) -> da.Array:
    """The image, band × line × column.

    Cut into tiles of one band of one scene, because a blur needs neighbours: strips of 64 lines would be computed nearly twice,
    as each needs 24 lines of both its neighbours. A tile is gone when it is counted: a 32nd of its size remains.

    Then the pieces of a scene are put together, before scenes are summed. What shares strips is so finished together, and there
    are a few scenes in memory at one time. If the sum were of tiles, Dask would end one tile of the sum before it begins the
    next: with the strips of all scenes in memory, since they reach over the whole width and have all bands.

    With the method "p2p", which Dask may choose by itself, strips go to disk and wait there for all others of their scene: it
    is for arrays of which every piece goes to every other.

    The naive way thinks "a blur is of an image, and a sum is over scenes", and puts all that into one chunk for each band.
    """
    tiles = scenes.rechunk((-1, 1, -1, -1) if naive else (1, 1, TILE, TILE), method="tasks")
    bands = [detected(tiles[:, band], BLUR[band]) for band in range(tiles.shape[1])]
    images = da.stack(bands, axis=1)
    if not naive:
        images = images.rechunk((1, -1, -1, -1), method="tasks")
    return images.sum(axis=0, split_every=4)


def digest(*results: np.ndarray) -> str:
    """The same for the same numbers."""
    return hashlib.sha256(b"".join(np.asarray(result, dtype="<i8").tobytes() for result in results)).hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=12, help="(%(default)s)")
    parser.add_argument("--bands", type=int, default=4, choices=range(1, len(BLUR) + 1), help="(%(default)s)")
    parser.add_argument("--size", type=int, default=8192, help=f"lines and columns, times {LINES} (%(default)s)")
    parser.add_argument("--naive", action="store_true", help="put all scenes of a band into one chunk, and see")
    asked = parser.parse_args()
    if asked.size % LINES:
        parser.error(f"--size {asked.size} is no whole number of strips of {LINES} lines")

    with Client() as client:
        scenes = delivered(asked.scenes, asked.bands, asked.size)
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        limits = [worker["memory_limit"] for worker in workers]
        print(f"{asked.scenes} scenes in {asked.bands} bands: {format_bytes(scenes.nbytes)}; the {len(limits)} workers have "
              f"{format_bytes(sum(limits))} together")  # fmt: skip
        memory = MemorySampler()
        try:
            with memory.sample("all workers", measure="process", interval=0.2):
                image = simulated(scenes, asked.naive).compute()
        except (MemoryError, KilledWorker) as error:  # before it is tried; after it was, again and again
            chunk, least = format_bytes(scenes.nbytes // asked.bands), format_bytes(min(limits))
            sys.exit(
                f"✘ a chunk of {chunk} is needed whole, and a worker has {least} ({type(error).__name__}: {error})"
            )
    print(f"in memory at one time: {format_bytes(max(size for _, size in memory.samples['all workers']))}")
    print(f"image of {image.shape[1]} × {image.shape[2]} pixels")
    for band, seen in enumerate(image):
        print(f"  band {band + 1}  {seen.min():,} to {seen.max():,} electrons, contrast {seen.std() / seen.mean():.3f}")
    print("digest", digest(image))


if __name__ == "__main__":
    main()
