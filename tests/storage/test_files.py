"""Storage against plain files and a real S3: the same behaviour at every URI."""

import gzip
import os
import pickle
import random
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.storage import failures, files, s3

KINDS = ["local", "file", pytest.param("s3", marks=pytest.mark.system), "memory"]


@pytest.fixture(params=KINDS)
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return request.getfixturevalue("s3_uri") + "/some/folder"
    return {
        "local": str(tmp_path / "some folder"),
        "file": f"file://{tmp_path}/some",
        "memory": f"memory://{uuid.uuid4().hex}/some",
    }[request.param]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_or_unwritable_disk_is_one_clear_line():
    refused = pytest.raises(UserError, match="/dev/full: the disk is full")
    with refused, storage.user_errors("/dev/full"), open("/dev/full", "wb", buffering=0) as file:
        file.write(b"x")
    with pytest.raises(UserError, match=r"/proc/run/lease\.json: no permission to read or write here"):
        storage.write_bytes("/proc/run/lease.json", b"{}")


def test_a_file_that_is_made_on_the_disk_appears_when_it_is_done(root: str) -> None:
    uri = storage.join(root, "a", "b.bin")
    with storage.local_file(uri) as path:
        path.write_bytes(b"whole")
        assert not storage.exists(uri)
    assert storage.read_bytes(uri) == b"whole"
    with pytest.raises(UserError, match="the disk is full"), storage.local_file(uri) as path:
        path.write_bytes(b"ha")
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert storage.read_bytes(uri) == b"whole" and len(storage.list_files(root, hidden=True)) == 1


def test_bytes_text_and_json_come_back(root: str) -> None:
    data = os.urandom(9 * 2**20)  # more than one read
    storage.write_bytes(storage.join(root, "a", "b.bin"), data)
    assert storage.read_bytes(storage.join(root, "a", "b.bin")) == data
    storage.write_text(storage.join(root, "t.txt"), "naïve £")
    assert storage.read_text(storage.join(root, "t.txt")) == "naïve £"
    storage.write_json(storage.join(root, "t.json"), {"x": [1, None, "é"]})
    assert storage.read_json(storage.join(root, "t.json")) == {"x": [1, None, "é"]}
    storage.write_text(storage.join(root, "t.txt"), "")
    assert storage.read_text(storage.join(root, "t.txt")) == ""


def test_parquet_comes_back_without_columns_from_folder_names(root: str) -> None:
    table = pa.table({"id": pa.array([2**53 + 1, None], pa.int64()), "items": [[1, 2], []]})
    uri = storage.join(root, "sequences", "bucket=00003", "part-0.parquet")
    storage.write_parquet(uri, table)
    assert storage.read_parquet(uri).equals(table)
    assert storage.read_parquet(uri, ["items"]).column_names == ["items"]


def test_list_files_is_sorted_recursive_and_skips_hidden_names(root: str) -> None:
    for name in ["b.json", "a/c.json", "a/d.txt", "_tmp/x.json", "a/.hidden.json"]:
        storage.write_text(storage.join(root, name), "12345")
    found = storage.list_files(root)
    assert [entry.uri for entry in found] == [
        storage.join(storage.absolute(root), n) for n in ["a/c.json", "a/d.txt", "b.json"]
    ]
    assert {entry.size for entry in found} == {5}
    assert [entry.uri.rsplit("/", 1)[1] for entry in storage.list_files(root, ".json")] == ["c.json", "b.json"]
    assert storage.list_files(found[0].uri) == [found[0]]
    assert storage.read_text(found[0].uri) == "12345"


def test_exists_and_delete(root: str) -> None:
    storage.write_text(storage.join(root, "run/a"), "x")
    storage.write_text(storage.join(root, "run/deep/b"), "x")
    assert storage.exists(storage.join(root, "run")) and storage.exists(storage.join(root, "run/a"))
    storage.delete(storage.join(root, "run/a"))
    assert not storage.exists(storage.join(root, "run/a"))
    storage.delete(storage.join(root, "run"))
    assert not storage.exists(storage.join(root, "run"))
    storage.delete(storage.join(root, "run"))


def test_missing_place_is_one_clear_line(root: str) -> None:
    missing = storage.join(root, "nowhere")
    for read in (storage.read_bytes, storage.read_parquet, storage.list_files, storage.read_json):
        with pytest.raises(UserError, match=r"nowhere: there is nothing here$"):
            read(missing)
    with pytest.raises(UserError, match="nothing here"):
        storage.download_dir(missing, "unused")


def test_one_of_many_creators_wins(root: str) -> None:
    uri, together = storage.join(root, "locks", "lock"), Barrier(8)

    def create(number: int) -> bool:
        together.wait()
        try:
            storage.create_exclusive(uri, str(number).encode())
        except FileExistsError:
            return False
        return True

    if root.startswith("memory"):  # a dictionary in one process has nothing atomic: one after the other
        storage.create_exclusive(uri, b"0")
        with pytest.raises(FileExistsError):
            storage.create_exclusive(uri, b"1")
        return
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert sum(won) == 1
    assert storage.read_bytes(uri) == str(won.index(True)).encode()
    assert len(storage.list_files(storage.join(root, "locks"))) == 1


def test_one_of_many_replaces_a_version_and_the_others_are_told(root: str) -> None:
    uri, together = storage.join(root, "locks", "lock"), Barrier(8)
    tag = storage.write_version(uri, b"0", None)

    def replace(number: int) -> str | None:
        together.wait()
        try:
            return storage.write_version(uri, b"by %d" % number, tag)
        except FileExistsError:
            return None

    if root.startswith("memory"):
        storage.write_version(uri, b"by 0", tag)
        with pytest.raises(FileExistsError):
            storage.write_version(uri, b"by 1", tag)
        return
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(replace, range(8)))
    (winner,) = (number for number, found in enumerate(won) if found)
    there = storage.read_version(uri)
    assert there is not None and there[:2] == (b"by %d" % winner, won[winner]) and 0 <= there.age < 60
    assert len(storage.list_files(storage.join(root, "locks"), hidden=True)) == 1


def test_a_version_is_not_replaced_where_it_is_gone(root: str) -> None:
    uri = storage.join(root, "lock")
    assert storage.read_version(uri) is None
    tag = storage.write_version(uri, b"0", None)
    storage.delete(uri)
    with pytest.raises(FileExistsError):
        storage.write_version(uri, b"1", tag)
    assert storage.read_version(uri) is None


HOLDS_THE_LOCK = """
import fcntl, os, sys, time
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


def test_a_writer_that_is_killed_under_the_lock_of_a_disk_keeps_nobody_waiting(tmp_path: Path) -> None:
    uri = str(tmp_path / "lock")
    tag = storage.write_version(uri, b"0", None)
    with subprocess.Popen([sys.executable, "-c", HOLDS_THE_LOCK, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(storage.write_version, uri, b"1", tag)
            holder.kill()
            assert waiting.result(30)
    assert (tmp_path / "lock").read_bytes() == b"1" and len(list(tmp_path.iterdir())) == 1


def test_folders_travel_there_and_back(root: str, tmp_path: Path) -> None:
    source = tmp_path / "checkpoint"
    contents = {"a.bin": os.urandom(100), "deep/.hidden": b"h", "deep/_x": b"", "deep/er/b.bin": os.urandom(2**20)}
    for name, data in contents.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    storage.upload_dir(source, storage.join(root, "up"))
    storage.download_dir(storage.join(root, "up"), tmp_path / "down")
    found = {
        str(p.relative_to(tmp_path / "down")): p.read_bytes() for p in (tmp_path / "down").rglob("*") if p.is_file()
    }
    assert found == contents


def test_filesystem_can_be_pickled(root: str) -> None:
    storage.write_text(storage.join(root, "x"), "content")
    filesystem, path = storage.open_fs(storage.join(root, "x"))
    again = pickle.loads(pickle.dumps(filesystem))
    with again.open_input_stream(path) as source:
        assert source.read() == b"content"


def test_local_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.json"
    storage.write_text(str(target), "old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        storage.write_text(str(target), "new")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


class Breaking:
    """A file of which every other answer breaks off."""

    def __init__(self, data: bytes) -> None:
        self._data, self._asked = data, 0

    def size(self) -> int:
        return len(self._data)

    def read_at(self, size: int, offset: int) -> bytes:
        self._asked += 1
        if self._asked % 2:
            raise OSError("AWS Error INTERNAL_FAILURE during GetObject operation: Failed to flush response stream")
        return self._data[offset : offset + size]


def test_an_answer_that_broke_off_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_FIRST_PAUSE", 0.0)
    data = bytes(range(256)) * 40
    source = pa.BufferedInputStream(pa.PythonFile(files._Ranges(Breaking(data)), "r"), 1000)
    assert b"".join(files.pieces(source)) == data


def test_other_errors_and_answers_that_never_come_whole_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_FIRST_PAUSE", 0.0)
    asked = []

    def fail(message: str) -> None:
        asked.append(message)
        raise OSError(message)

    with pytest.raises(OSError, match="disk"):
        storage.again(lambda: fail("disk"))
    with pytest.raises(OSError, match="INTERNAL_FAILURE"):
        storage.again(lambda: fail("AWS Error INTERNAL_FAILURE"))
    assert len(asked) == 1 + 1 + failures._MORE_ATTEMPTS


def test_a_stream_is_decompressed_as_its_name_says(root: str) -> None:
    storage.write_bytes(f"{root}/a.txt.gz", gzip.compress(b"line\n" * 1000))
    with storage.open_stream(f"{root}/a.txt.gz") as source:
        assert source.read() == b"line\n" * 1000
    with storage.open_stream(f"{root}/a.txt.gz", None) as source:
        assert gzip.decompress(source.read()) == b"line\n" * 1000


def test_names() -> None:
    assert storage.join("s3://bucket/", "a/", "/b") == "s3://bucket/a/b"
    assert storage.join("/", "a") == "/a"
    assert storage.absolute("s3://bucket/a/") == "s3://bucket/a"
    assert storage.absolute("file:///tmp/x") == "/tmp/x"
    assert storage.absolute("x/../y") == os.path.join(os.getcwd(), "y")
    assert storage.is_local("x") and storage.is_local("file:///x") and not storage.is_local("s3://b/x")


def test_unreadable_content_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_text("{")
    with pytest.raises(UserError, match="bad is not JSON"):
        storage.read_json(str(bad))
    with pytest.raises(UserError, match="not a readable Parquet file"):
        storage.read_parquet(str(bad))


def test_damaged_parquet_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    rng, path = random.Random(0), tmp_path / "a.parquet"
    texts = pa.array([[f"text {n}", "é"] for n in range(300)])
    storage.write_parquet(str(path), pa.table({"id": range(300), "texts": texts}))
    whole, refused = path.read_bytes(), 0
    for number in range(300):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data[: rng.randrange(len(data))] if number % 10 == 0 else data)
        try:
            storage.read_parquet(str(path)).to_pylist()
            storage.read_schema(str(path))
        except UserError as error:
            refused += "not a readable Parquet file" in str(error)
    assert refused > 100


@pytest.mark.parametrize("uri", ["nosuch://x/y", "s3:///x"])
def test_impossible_uri(uri: str) -> None:
    with pytest.raises(UserError):
        storage.exists(uri)


def test_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="a file stands where a folder is needed"):
        storage.read_bytes(str(tmp_path / "file" / "below"))


def test_missing_bucket(s3_uri: str) -> None:
    with pytest.raises(UserError, match="nothing here"):
        storage.list_files("s3://no-such-bucket-anywhere/x")
    for write in (storage.write_bytes, storage.create_exclusive):
        with pytest.raises(UserError, match="no such bucket"):
            write("s3://no-such-bucket-anywhere/x", b"x")


def test_unanswering_store(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray_userrep.storage.s3.ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="does not answer"):
        storage.exists(s3_uri)


def test_checksums_that_a_store_refuses_are_explained() -> None:
    message = "AWS Error UNKNOWN (HTTP status 411) during UploadPart operation: MissingContentLength"
    with (
        pytest.raises(UserError, match="AWS_REQUEST_CHECKSUM_CALCULATION=when_required"),
        storage.user_errors("s3://b/x"),
    ):
        raise OSError(message)


def test_wrong_credentials(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.write_text(s3_uri + "/x", "x")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKNOBODY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    monkeypatch.setattr("ray_userrep.storage.s3._filesystem", s3._filesystem.__wrapped__)
    try:
        assert storage.exists(s3_uri + "/x")
    except UserError as error:
        assert "no permission" in str(error)
    else:
        pytest.skip("this store checks no credentials")
    with pytest.raises(UserError, match=r"no permission|does not know these credentials"):
        storage.create_exclusive(s3_uri + "/y", b"x")


def test_pyarrow_s3_writes_no_folder_markers(s3_uri: str) -> None:
    storage.write_text(s3_uri + "/a/b=0/x", "x")
    filesystem, path = storage.open_fs(s3_uri)
    infos = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
    assert sorted(info.path.removeprefix(path) for info in infos if info.is_file) == ["/a/b=0/x"]


def test_a_file_that_is_written_again_has_another_stamp(tmp_path):
    place = tmp_path / "a.csv"
    place.write_text("one")
    (first,) = storage.list_files(str(tmp_path))
    assert storage.list_files(str(place)) == [first] == storage.list_files(str(tmp_path))
    os.utime(place, ns=(0, place.stat().st_mtime_ns + 1))
    (again,) = storage.list_files(str(tmp_path))
    assert again.size == first.size and again != first
