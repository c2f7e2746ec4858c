"""A corpus of which one bit has changed: nothing of it is read as other data."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ray_userrep.corpus.manifest import Manifest
from ray_userrep.corpus.outline import outline_path
from ray_userrep.corpus.store import Corpus, manifest_uri, open_corpus
from ray_userrep.corpus.summary import item_frequencies, quarantine_examples
from ray_userrep.corpus.text import read_vectors, write_vectors
from ray_userrep.errors import UserError
from ray_userrep.logs.source import open_logs
from ray_userrep.prepare.append import append
from ray_userrep.prepare.compact import compact
from ray_userrep.prepare.prepare import prepare
from ray_userrep.prepare.side_tables import read_sources
from ray_userrep.recipe.corpus import CorpusConfig, KCoreConfig
from ray_userrep.recipe.logs import LogsConfig

FLIPS = 25  # in each file

READ: dict[str, Callable[[Corpus], Any]] = {
    "sequences": lambda corpus: [corpus.bucket(number, ["price", "event"]) for number in corpus.buckets()],
    "outlines": lambda corpus: [corpus.outline(number) for number in corpus.buckets()],
    "items": lambda corpus: (corpus.items().table, item_frequencies(corpus)),
    "users": lambda corpus: corpus.users(),
    "sources": read_sources,
    "quarantine": lambda corpus: quarantine_examples(corpus, 9),
    "text": lambda corpus: read_vectors(f"{corpus.uri}/text/some"),
}


def checked(manifest: Manifest) -> list[str]:
    """The files of a version, each of which has a checksum."""
    alone = [path for path in (manifest.sources, manifest.items, manifest.users, *manifest.quarantine) if path]
    assert sorted(manifest.checksums) == sorted(alone)
    assert all(file.checksum and file.outline for file in manifest.sequences)
    return alone + [path for file in manifest.sequences for path in (file.path, outline_path(file.path))]


def everything(uri: str) -> dict[str, str]:
    """All that a corpus holds, in words."""
    corpus = open_corpus(uri)
    return {name: repr(read(corpus)) for name, read in READ.items()} | {"manifest": repr(corpus.manifest)}


def write_log(folder: Path, number: int, num_rows: int) -> LogsConfig:
    """A file of a log with a side column, an attribute of users, and a row without a time."""
    folder.mkdir(exist_ok=True)
    rows, drawn = range(num_rows), random.Random(number)
    table = {
        "user_id": [f"u{row % 40}" for row in rows],
        "item_id": [f"i{drawn.randrange(30)}" for _ in rows],
        "timestamp": [None if row == 7 else 1_600_000_000 + 10**6 * number + row for row in rows],
        "price": [drawn.random() for _ in rows],
    }
    pq.write_table(pa.table(table), folder / f"day-{number}.parquet")
    users = {"user_id": [f"u{user}" for user in range(40)], "age": [drawn.randrange(9) for _ in range(40)]}
    pq.write_table(pa.table(users), folder / "users.parquet")
    return LogsConfig(uri=str(folder), max_quarantined_share=1.0)


@pytest.fixture(scope="module")
def uri(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A corpus of two days, the second appended, with text vectors."""
    folder = tmp_path_factory.mktemp("checked")
    uri, config = str(folder / "corpus"), CorpusConfig(num_buckets=2)
    prepare(open_logs(write_log(folder / "log", 1, 300)), config, uri)
    append(write_log(folder / "log", 2, 200), config, uri)
    write_vectors(f"{uri}/text/some", pa.FixedSizeListArray.from_arrays(pa.array([0.5] * 60, pa.float32()), 2))
    return uri


def test_every_file_of_a_version_has_a_checksum_and_no_other(uri: str, tmp_path: Path) -> None:
    logs = write_log(tmp_path / "log", 3, 600)
    core = CorpusConfig(num_buckets=2, k_core=KCoreConfig(users=2, items=2))
    prepare(open_logs(logs), core, str(tmp_path / "core"))
    append(write_log(tmp_path / "log", 4, 100), core, uri)
    for corpus in (open_corpus(uri, 1), open_corpus(uri, 2), open_corpus(uri), open_corpus(str(tmp_path / "core"))):
        assert checked(corpus.manifest)
    compact(uri)
    assert checked(open_corpus(uri).manifest)
    everything(uri)


def test_a_bit_that_changed_is_one_line_and_never_other_data(uri: str) -> None:
    corpus, drawn, told = open_corpus(uri), random.Random(0), dict[str, int]()
    whole = everything(uri)
    places = [f"{uri}/{path}" for path in checked(corpus.manifest)]
    places += [manifest_uri(uri, corpus.manifest.version), *map(str, Path(uri, "text").rglob("*.parquet"))]
    for place in places:
        data = Path(place).read_bytes()
        for bit in drawn.sample(range(8 * len(data)), FLIPS):
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8
            Path(place).write_bytes(changed)
            try:
                assert everything(uri) == whole, (place, bit)
            except UserError as error:
                assert place in str(error) and "\n" not in str(error), (place, bit, error)
                told[place] = told.get(place, 0) + 1
        Path(place).write_bytes(data)
    assert all(count == FLIPS for place, count in told.items() if not place.endswith(".json")) and len(told) > 8
