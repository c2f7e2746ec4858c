"""Synthetic logs of any size, written in parallel straight to object storage, with the least loss possible on them.

    <log>/date=2024-01-01/part-00000.parquet            user_id, item_id, timestamp; one file a day and piece of work
    <log>/date=2024-01-01/domain=0/part-00000.parquet   where there are several domains
    <log>/_synthetic.json                               what was asked for, the floors, counts; readers skip it

Each piece of work holds all interactions of some users and writes its share of every day, so that the number of files
is days times pieces; nothing is exchanged between pieces.
"""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import ray
from numpy.typing import NDArray

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.logs.synthetic.planted import Planted
from ray_userrep.logs.synthetic.population import DAY_US, UserBlock, block_bounds, draw_users
from ray_userrep.logs.tasks import stop
from ray_userrep.recipe.logs import SyntheticConfig

DESCRIPTION = "_synthetic.json"
_EPOCH = date(1970, 1, 1)


class Written(NamedTuple):
    """What a piece of work wrote."""

    days: Counter[str]
    num_short: int  # predictions of an item from a history shorter than the lag, but not empty
    num_long: int


def synthesize(config: SyntheticConfig, uri: str) -> dict[str, Any]:
    """Write a log below a URI that has none yet; returns its description, which is also written.

    Raises:
        UserError: there are files already.
    """
    uri = storage.absolute(uri)
    if storage.exists(uri) and storage.list_files(uri, hidden=True):
        raise UserError(f"{uri} holds files already: name an empty place, or delete it first")
    try:
        written = list(_write_all(config, uri))
    except BaseException:
        storage.delete(uri)
        raise
    days = sum((one.days for one in written), Counter[str]())
    description = _describe(
        config, sum(one.num_short for one in written), sum(one.num_long for one in written), dict(sorted(days.items()))
    )
    storage.write_json(storage.join(uri, DESCRIPTION), description)
    return description


def write_block(config: SyntheticConfig, uri: str, number: int, first: int, end: int) -> Written:
    """Draw the users of a piece of work and write their interactions, a file a day and domain."""
    block = draw_users(config, first, end)
    lengths_U = np.diff(block.offsets_U1)
    num_long = int(np.maximum(lengths_U - config.lag, 0).sum())
    days = Counter[str]()
    for folder, table in _by_folder(config, block):
        storage.write_parquet(storage.join(uri, folder, f"part-{number:05d}.parquet"), table)
        days[folder.split("/")[0].removeprefix("date=")] += table.num_rows
    return Written(days, int(np.maximum(lengths_U - 1, 0).sum()) - num_long, num_long)


def _write_all(config: SyntheticConfig, uri: str) -> Iterator[Written]:
    """Every piece of work, as it is done."""
    bounds, began = block_bounds(config), time.perf_counter()
    task = ray.remote(write_block)
    pending = [
        task.remote(config, uri, number, first, end)
        for number, (first, end) in enumerate(pairwise(bounds))
        if first < end
    ]
    total, num_rows = len(pending), 0
    try:
        while pending:
            done, pending = ray.wait(pending)
            written = ray.get(done[0])
            num_rows += written.days.total()
            if len(pending) == 0 or (total - len(pending)) % max(1, total // 10) == 0:
                seconds = time.perf_counter() - began
                print(f"synthesize  {num_rows:>15,} interactions  {seconds:6.1f} s", flush=True)
            yield written
    except BaseException:
        stop(pending)
        raise


def _by_folder(config: SyntheticConfig, block: UserBlock) -> Iterator[tuple[str, pa.Table]]:
    """The rows of each day and domain, in the order of time."""
    order, folder_N = _order(config, block)
    user_N = np.repeat(block.user_ids_U, np.diff(block.offsets_U1))
    columns = [column[order] for column in (user_N, block.item_ids_N, block.times_N)]
    starts = np.flatnonzero(np.diff(folder_N, prepend=-1)).tolist()
    for start, end in zip(starts, [*starts[1:], len(folder_N)], strict=True):
        user, item, when = (column[start:end] for column in columns)
        table = pa.table(
            {"user_id": user, "item_id": item, "timestamp": pa.array(when).cast(pa.timestamp("us", tz="UTC"))}
        )
        yield _folder(config, int(folder_N[start])), table


def _order(config: SyntheticConfig, block: UserBlock) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows by folder and time, and the folder's number of each in this order."""
    folder_N = block.times_N // DAY_US
    if config.domains == 1:
        order = np.argsort(block.times_N, kind="stable")
    else:
        folder_N = folder_N * config.domains + block.interest_N % config.domains
        order = np.lexsort((block.times_N, folder_N))
    return order, folder_N[order]


def _folder(config: SyntheticConfig, number: int) -> str:
    day, domain = divmod(number, config.domains)
    name = f"date={_EPOCH + timedelta(days=day)}"
    return name if config.domains == 1 else f"{name}/domain={domain}"


def _describe(config: SyntheticConfig, num_short: int, num_long: int, days: dict[str, int]) -> dict[str, Any]:
    floors = Planted(config).floors()
    return {
        "config": config.model_dump(mode="json"),
        "floors_nats": floors._asdict(),
        "predictions": {"first_order": num_short, "full": num_long},
        "floor_nats": floors.mean(num_short, num_long),
        "interactions_per_day": days,
    }
