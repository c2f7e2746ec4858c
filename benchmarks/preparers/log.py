"""A log to prepare: items by Zipf's law, heavy-tailed users, rising times, a few rows that are of no use.

Each file is drawn by itself from its number, so that a log of any size takes the memory of one file.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

ROWS_PER_FILE = 1_000_000
_DAY = 86_400_000_000
_START = 1_600_000_000_000_000
_DAYS = 90
_SCRAMBLE = np.uint64(0x9E3779B97F4A7C15)


def write_log(folder: Path, interactions: int, ids: str) -> int:
    """Write the files of a log, unless they are there; its size in bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    num_files = -(-interactions // ROWS_PER_FILE)
    for number in range(num_files):
        path = folder / f"part-{number:05d}.parquet"
        if not path.exists():
            rows = min(ROWS_PER_FILE, interactions - number * ROWS_PER_FILE)
            pq.write_table(_rows(number, num_files, rows, interactions, ids), path, compression="zstd")
    return sum(path.stat().st_size for path in folder.glob("*.parquet"))


def _rows(number: int, num_files: int, count: int, interactions: int, ids: str) -> pa.Table:
    rng = np.random.default_rng(number)
    num_users, num_items = max(interactions // 50, 10), max(interactions // 20, 10)
    user = (num_users * rng.random(count) ** 2).astype(np.uint64)  # the largest has 1 / sqrt(users) of all
    item = (num_items ** rng.random(count)).astype(np.uint64)
    span = _DAYS * _DAY // num_files
    time = _START + number * span + np.sort(rng.integers(0, span, count))
    time[rng.random(count) < 5e-4] = -1
    lost = rng.random(count) < 5e-4
    columns = {"user": pa.array(_ids(user, "U", ids)), "item": pa.array(_ids(item, "I", ids), mask=lost)}
    return pa.table({**columns, "time": time})


def _ids(values: NDArray[np.uint64], letter: str, ids: str) -> NDArray[np.generic]:
    scrambled = ((values * _SCRAMBLE) >> np.uint64(20)).astype(np.int64)
    return np.char.add(letter, scrambled.astype(np.str_)) if ids == "string" else scrambled
