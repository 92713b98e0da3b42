"""docs/examples/remote_sensing.py, held against the same thing done plainly."""

from __future__ import annotations

from itertools import accumulate

import dask
import numpy as np
import pytest
import remote_sensing as rs
from dask.diagnostics import CacheProfiler
from distributed import LocalCluster
from scipy import ndimage

SCENES, BANDS, SIZE = 3, 2, 256


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(rs, "TILE", 128)
    with dask.config.set(scheduler="sync"):
        yield


def test_the_image_is_that_of_whole_scenes_in_plain_numpy() -> None:
    scenes = rs.delivered(SCENES, BANDS, SIZE)
    whole = scenes.compute()
    assert whole.shape == (SCENES, BANDS, SIZE, SIZE)
    expected = np.zeros((BANDS, SIZE // rs.FINER, SIZE // rs.FINER), dtype=np.int64)
    for scene in whole:
        for band, image in enumerate(scene):
            sigma = (rs.BLUR[band], rs.BLUR[band])
            seen = ndimage.gaussian_filter(image, sigma, mode="nearest", radius=rs.REACH)
            pixels = np.rint(seen * rs.GAIN).astype(int)
            blocks = pixels.reshape(SIZE // rs.FINER, rs.FINER, SIZE // rs.FINER, rs.FINER)
            expected[band] += blocks.sum(axis=(1, 3))
    assert np.array_equal(rs.simulated(scenes).compute(), expected)


def test_the_naive_way_computes_the_same_where_memory_is_enough() -> None:
    scenes = rs.delivered(SCENES, BANDS, SIZE)
    tiled, naive = rs.simulated(scenes), rs.simulated(scenes, naive=True)
    assert rs.digest(tiled.compute()) == rs.digest(naive.compute())


def test_more_scenes_need_no_more_memory_but_naively() -> None:
    # The order of tasks that are alike is Dask's own, and not the same in every run: 2.2 to 2.5 scenes were seen for each number.
    one = SIZE * SIZE * 4
    assert held(3) < 3 * one
    assert held(9) < 3 * one
    assert held(9, naive=True) > 9 * one


def held(scenes: int, naive: bool = False) -> int:
    """Bytes of all pieces that are made and still needed, at the worst moment in the order that Dask gives to tasks."""
    with CacheProfiler(metric=size) as profiler:
        rs.simulated(rs.delivered(scenes, 1, SIZE), naive).compute()
    came = [(piece.cache_time, piece.metric) for piece in profiler.results]
    went = [(piece.free_time, -piece.metric) for piece in profiler.results]
    return max(accumulate(change for _, change in sorted(came + went)))


def size(piece: object) -> int:
    if isinstance(piece, list | tuple):
        return sum(map(size, piece))
    return piece.nbytes if isinstance(piece, np.ndarray) else 0


def test_a_strip_is_the_same_whoever_makes_it() -> None:
    place = (1, 0, 3, 0)
    once = rs.strip(SCENES, BANDS, SIZE, place)
    assert np.array_equal(once, rs.strip(SCENES, BANDS, SIZE, place))
    assert not np.array_equal(once, rs.strip(SCENES, BANDS, SIZE, (1, 0, 4, 0)))


def test_the_naive_way_is_refused_by_a_worker_that_is_smaller_than_a_chunk(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["remote_sensing.py", "--scenes=8", "--bands=1", "--size=1024", "--naive"])
    with (
        LocalCluster(n_workers=1, processes=False, memory_limit="24 MiB", dashboard_address=":0") as cluster,
        dask.config.set({"scheduler": None, "scheduler-address": cluster.scheduler_address}),
        pytest.raises(
            SystemExit, match=r"a chunk of 32.00 MiB is needed whole, and a worker has 24.00 MiB \(MemoryError"
        ),
    ):
        rs.main()
    assert "8 scenes in 1 bands: 32.00 MiB; the 1 workers have 24.00 MiB together" in capsys.readouterr().out
