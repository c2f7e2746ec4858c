"""A log of thousands of objects in a real object store: whole, with faulty requests, and with the store killed midway.

The jobs run as processes of their own, so that they meet the store through the variables that a user sets.
"""

import json
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from ray_userrep.corpus.manifest import Manifest, decoded

ROOT = Path(__file__).parents[2]
FAULTS = Path(__file__).parent / "faults"
NUM_OBJECTS, NUM_PARTITIONS, ROWS = 5_000, 50, 20

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("radosgw") is None, reason="no store that keeps its data: install radosgw"),
]


class Store:
    """An object store of this test's own, and a log in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        named = ("AWS_ENDPOINT_URL", "S3_ENDPOINT")
        self.env = {name: value for name, value in os.environ.items() if name not in named}
        self.env |= {"PYTHON": sys.executable, "RAY_ADDRESS": "local"}  # not another test's cluster
        self.jobs: list[subprocess.Popen[str]] = []
        self.start()

    def start(self) -> None:
        command = [str(ROOT / "cluster" / "object_store.sh"), "start", str(self.folder)]
        told = subprocess.run(command, env=self.env, capture_output=True, text=True)
        assert told.returncode == 0, told.stderr
        lines = (shlex.split(line) for line in told.stdout.splitlines())
        self.variables = dict(words[1].split("=", 1) for words in lines if words[:1] == ["export"])

    @property
    def port(self) -> int:
        return int(self.variables["AWS_ENDPOINT_URL"].rsplit(":", 1)[1])

    def kill(self) -> None:
        for name in ("rgw", "osd", "mon"):
            os.kill(int((self.folder / f"{name}.pid").read_text()), signal.SIGKILL)

    def stop(self) -> None:
        for job in self.jobs:
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGKILL)
        subprocess.run([str(ROOT / "cluster" / "object_store.sh"), "stop", str(self.folder)], env=self.env)

    def filesystem(self) -> pafs.S3FileSystem:
        return pafs.S3FileSystem(
            access_key=self.variables["AWS_ACCESS_KEY_ID"],
            secret_key=self.variables["AWS_SECRET_ACCESS_KEY"],
            endpoint_override=self.variables["AWS_ENDPOINT_URL"],
            region="us-east-1",
            allow_bucket_creation=True,
        )

    def prepare(self, logs: str, corpus: str, port: int | None = None) -> "subprocess.Popen[str]":
        """A running prepare job that meets the store at a port."""
        env = {**self.env, **self.variables, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}"}
        command = [sys.executable, str(ROOT / "jobs" / "prepare.py"), "--logs", logs, "--corpus", corpus]
        command += ["--corpus.num_buckets", "4"]
        job = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        self.jobs.append(job)
        return job

    def manifest(self, corpus: str) -> Manifest:
        with self.filesystem().open_input_stream(f"{corpus.removeprefix('s3://')}/manifests/000001.json") as source:
            return Manifest.model_validate(decoded(json.loads(source.read())))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The store with `log/`, 5,000 objects, and `one.parquet`, the same rows in one."""
    os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    store = Store(tmp_path_factory.mktemp("store"))
    try:
        filesystem = store.filesystem()
        filesystem.create_dir("data")
        rows = log()
        pq.write_table(rows, "data/one.parquet", filesystem=filesystem)

        def write(number: int) -> None:
            partition = number * NUM_PARTITIONS // NUM_OBJECTS
            folder = f"data/log/date=2024-01-{partition // 2 + 1:02}/domain=d{partition % 2}"
            with filesystem.open_output_stream(f"{folder}/{number:05}.parquet") as sink:
                pq.write_table(rows.slice(number * ROWS, ROWS), sink)

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(write, range(NUM_OBJECTS)))
        yield store
    finally:
        store.stop()


def log() -> pa.Table:
    draw = np.random.default_rng(0)
    count = NUM_OBJECTS * ROWS
    columns = {"user_id": draw.integers(0, 2_000, count), "item_id": draw.zipf(1.5, count) % 5_000}
    return pa.table({**columns, "timestamp": 1_700_000_000 + draw.integers(0, 4_000_000, count)})


@pytest.fixture(scope="module")
def whole(store: Store) -> Manifest:
    """The corpus of the one object."""
    finish(store.prepare("s3://data/one.parquet", "s3://data/corpus/one"))
    return store.manifest("s3://data/corpus/one")


def finish(job: "subprocess.Popen[str]") -> str:
    output, _ = job.communicate(timeout=900)
    assert job.returncode == 0, output[-3000:]
    return output


def same(found: Manifest, expected: Manifest) -> None:
    assert found.quarantined == {}
    assert found.num_interactions == expected.num_interactions == NUM_OBJECTS * ROWS
    assert found.content_fingerprint == expected.content_fingerprint
    assert found.side_columns == ["domain"]


def free_port() -> int:
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def wait_for(port: int) -> None:
    for _ in range(300):
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens at {port}")


def test_thousands_of_objects_are_one_log(store: Store, whole: Manifest) -> None:
    finish(store.prepare("s3://data/log", "s3://data/corpus/many"))
    same(store.manifest("s3://data/corpus/many"), whole)


@pytest.fixture
def faulty_port(store: Store, tmp_path: Path) -> Iterator[int]:
    """The store where 2.5 % of the requests get 503, 2.5 % no answer, and 5 % of the connections are cut midway."""
    if shutil.which("haproxy") is None:
        pytest.skip("no haproxy to make faults with: install it")
    front, behind = free_port(), free_port()
    shares = {
        "HA_DIR": str(tmp_path),
        "HA_PORT": str(behind),
        "S3_PORT": str(store.port),
        "P503": "25",
        "PDROP": "25",
    }
    proxies = [
        subprocess.Popen(["haproxy", "-db", "-f", str(FAULTS / "haproxy.cfg")], env={**os.environ, **shares}),
        subprocess.Popen(
            [sys.executable, str(FAULTS / "cut.py"), str(front), str(behind), "0.05", str(tmp_path / "cuts")]
        ),
    ]
    try:
        wait_for(behind)
        wait_for(front)
        yield front
    finally:
        for proxy in proxies:
            proxy.terminate()
            proxy.wait()


def faults(folder: Path) -> dict[str, int]:
    """What the proxies did so far."""
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(folder / "ctl"))
        control.sendall(b"show stat\n")
        text = b"".join(iter(lambda: control.recv(65536), b"")).decode()
    names, *rows = [line.split(",") for line in text.splitlines() if line]
    front = next(dict(zip(names, row, strict=True)) for row in rows if row[:2] == ["s3", "FRONTEND"])
    requests, slow, dropped = (int(front[name]) for name in ("req_tot", "hrsp_5xx", "dreq"))
    return {"requests": requests, "503": slow, "dropped": dropped, "cut": int((folder / "cuts").read_text())}


def test_faulty_requests_lose_nothing(store: Store, whole: Manifest, faulty_port: int, tmp_path: Path) -> None:
    finish(store.prepare("s3://data/log", "s3://data/corpus/faulty", faulty_port))
    counted = faults(tmp_path)
    print(counted)
    assert counted["requests"] > 2 * NUM_OBJECTS
    assert min(counted["503"], counted["dropped"]) > 0.01 * counted["requests"] and counted["cut"] > 0
    same(store.manifest("s3://data/corpus/faulty"), whole)


def test_a_store_killed_and_restarted_loses_nothing(store: Store, whole: Manifest) -> None:
    job = store.prepare("s3://data/log", "s3://data/corpus/killed")
    filesystem, place = (
        store.filesystem(),
        pafs.FileSelector("data/corpus/killed/data", recursive=True, allow_not_found=True),
    )
    while job.poll() is None and not filesystem.get_file_info(place):  # until it has written something
        time.sleep(0.2)
    assert job.poll() is None, job.communicate()[0]
    store.kill()
    store.start()
    finish(job)
    same(store.manifest("s3://data/corpus/killed"), whole)
