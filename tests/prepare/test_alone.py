"""A log that is prepared without Ray becomes the corpus that Ray's workers make of it, byte for byte."""

import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from ray_userrep.corpus.manifest import Manifest
from ray_userrep.corpus.store import open_corpus
from ray_userrep.logs import tasks
from ray_userrep.logs.source import open_logs
from ray_userrep.prepare import prepare as module
from ray_userrep.prepare.append import append
from ray_userrep.prepare.compact import compact
from ray_userrep.prepare.erase import erase
from ray_userrep.prepare.prepare import prepare
from ray_userrep.recipe.corpus import CorpusConfig, KCoreConfig
from ray_userrep.recipe.logs import LogsConfig

ROWS = 1_000
CONFIG = CorpusConfig(num_buckets=4)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of several files with all that a log may have: lost rows, numbers and files, tables beside it."""
    folder = tmp_path / "log"
    folder.mkdir()
    for number in range(4):
        write_rows(folder / f"{number}.csv", range(number * ROWS, (number + 1) * ROWS))
    (folder / "broken.parquet").write_bytes(b"PAR1 and no more")
    pq.write_table(
        pa.table({"item_id": [f"i{n}" for n in range(97)], "text": ["a text"] * 97}), folder / "items.parquet"
    )
    users = [f"u{n}" for n in range(300)]
    pq.write_table(pa.table({"user_id": users, "age": range(300)}), folder / "users.parquet")
    pq.write_table(pa.table({"user_id": users[1:], "other_id": users[:-1]}), folder / "relations.parquet")
    return folder


def write_rows(file: Path, numbers: range) -> None:
    items = ["" if n % 500 == 7 else f"i{n * 31 % 97}" for n in numbers]
    times = [1_600_000_000 + n // 9 * 40_000 for n in numbers]
    prices = [f"{n}" if n % 99 else "?" for n in numbers]
    rows = [
        f"u{n * n % 301},{item},{when},{price}"
        for n, item, when, price in zip(numbers, items, times, prices, strict=True)
    ]
    file.write_text("\n".join(["user_id,item_id,timestamp,price", *rows, "a line that breaks", ""]))
    os.utime(file, (0, 0))  # the same each time that it is written


def contents(uri: Path) -> dict[str, list[bytes]]:
    """What the files of a corpus hold, by their places less the names that are drawn anew for each build."""
    found: dict[str, list[bytes]] = {}
    for path in uri.glob("data/**/*"):
        if path.is_file() and path.parent.name != "quarantine":
            found.setdefault(re.sub("data/[0-9a-f]+", "data", str(path.relative_to(uri))), []).append(path.read_bytes())
    return {place: sorted(files) for place, files in found.items()}


def rejected(uri: Path, manifest: Manifest) -> list[dict]:
    """The rows that a version sets aside."""
    return sorted(pa.concat_tables(pq.read_table(uri / path) for path in manifest.quarantine).to_pylist(), key=repr)


def told(manifest: Manifest) -> str:
    text = manifest.model_dump_json(exclude={"created", "peak_bytes", "checksums", "quarantine"})
    return re.sub(r"data/[0-9a-f]+", "data", text)


def core_of(logs: LogsConfig, uri: Path) -> Manifest:
    config = CONFIG.model_copy(update={"k_core": KCoreConfig(users=10, items=20)})
    return prepare(open_logs(logs), config, str(uri))


def kept_up(logs: LogsConfig, uri: Path) -> Manifest:
    """A corpus that grew, was compacted and lost some users."""
    prepare(open_logs(logs), CONFIG, str(uri))
    write_rows(Path(str(logs.uri), "later.csv"), range(2 * ROWS, 5 * ROWS))
    append(logs, CONFIG, str(uri))
    compact(str(uri))
    return erase(open_corpus(str(uri)), pa.array(["u4", "u9"]))


@pytest.mark.parametrize("make", [core_of, kept_up])
def test_the_bytes_are_those_of_rays_workers(make, log, ray_session, tmp_path, monkeypatch):
    logs = LogsConfig(uri=str(log), max_quarantined_share=0.3, max_unmatched_share=1.0)
    ours = make(logs, tmp_path / "ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    (log / "later.csv").unlink(missing_ok=True)
    again = make(logs, tmp_path / "alone")
    assert told(again) == told(ours)
    assert contents(tmp_path / "alone") == contents(tmp_path / "ray")
    assert rejected(tmp_path / "alone", again) == rejected(tmp_path / "ray", ours) != []


def test_a_large_log_has_ray_started(log, ray_session, tmp_path, monkeypatch):
    started: list[int] = []
    monkeypatch.setattr(tasks, "connect", lambda: started.append(1))
    logs = open_logs(LogsConfig(uri=str(log), max_quarantined_share=0.3))
    large = logs._replace(files=[logs.files[0]._replace(size=2**31)])
    for chosen, times in ((logs, 0), (large, 1)):
        monkeypatch.setattr(module, "_partition", lambda *_: pytest.fail("far enough"))
        with pytest.raises(pytest.fail.Exception, match="far enough"):
            prepare(chosen, CONFIG, str(tmp_path / "corpus"))
        assert len(started) == times
