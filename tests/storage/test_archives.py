"""Zip archives as folders: members listed and read, packed or not, here and in an object store."""

import gzip
import stat
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.logs.parts import dataset_of
from ray_userrep.logs.reading import LogLayout
from ray_userrep.logs.scan import scan
from ray_userrep.logs.source import open_logs
from ray_userrep.recipe.logs import LogsConfig


@pytest.fixture
def archive(tmp_path):
    place = tmp_path / "Log.ZIP"
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("b/log.csv", "user_id,item_id,timestamp\n1,2,3\n")
        file.writestr("a.csv.gz", gzip.compress(b"user_id,item_id,timestamp\n4,5,6\n"))
        file.writestr("__MACOSX/._a.csv", "x")
        file.mkdir("empty")
    return place


def test_members_are_files(archive):
    files = storage.list_archive(str(archive))
    assert [(file.uri, file.size) for file in files][1] == (f"{archive}/b/log.csv", 32)
    assert [file.uri.removeprefix(str(archive)) for file in files] == ["/a.csv.gz", "/b/log.csv"]
    assert storage.read_text(f"{archive}/b/log.csv").endswith("1,2,3\n")
    assert storage.read_text(f"{archive}/a.csv.gz").endswith("4,5,6\n")


def test_a_folder_may_be_called_like_an_archive(tmp_path):
    storage.write_text(str(tmp_path / "x.zip" / "a.txt"), "here")
    assert storage.read_text(str(tmp_path / "x.zip" / "a.txt")) == "here"


def test_what_is_no_archive_is_named(tmp_path):
    (tmp_path / "log.zip").write_text("no")
    with pytest.raises(UserError, match=r"log\.zip cannot be read as a zip archive"):
        open_logs(LogsConfig(uri=str(tmp_path)))


@pytest.mark.parametrize("where", ["local", pytest.param("s3", marks=pytest.mark.system)])
def test_a_log_is_read_packed(ray_session, request, archive, where):
    uri = str(archive)
    if where == "s3":
        uri = request.getfixturevalue("s3_uri") + "/raw/log.zip"
        storage.write_bytes(uri, archive.read_bytes())
    rows = dataset_of(open_logs(LogsConfig(uri=uri)).interactions).take_all()
    assert sorted((row["user_id"], row["item_id"]) for row in rows) == [(1, 2), (4, 5)]


def rows_of(place):
    layout = LogLayout({name: name for name in ("user_id", "item_id", "timestamp")})
    found = scan(LogsConfig(), storage.list_archive(str(place)), layout)
    return pa.concat_tables([table for table, _ in found.tables([])]).to_pylist()


@pytest.mark.parametrize("damage", ["flipped", "encrypted", "packed otherwise"])
@pytest.mark.parametrize("name", ["b.csv", "b.csv.gz", "b.parquet"])
def test_a_damaged_member_costs_itself(tmp_path, damage, name):
    place = tmp_path / "log.zip"
    table = pa.table({"user_id": range(2000), "item_id": range(2000), "timestamp": range(10**9, 10**9 + 2000)})
    text = "user_id,item_id,timestamp\n" + "".join(f"{n},{n * n % 977},{10**9 + n}\n" for n in range(2000))
    pq.write_table(table, tmp_path / "b.parquet")
    content = {"b.csv": text.encode(), "b.csv.gz": gzip.compress(text.encode())}
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.csv", "user_id,item_id,timestamp\n1,2,1000000000\n")
        file.writestr(name, content.get(name) or (tmp_path / name).read_bytes())
        file.writestr("c.csv", "user_id,item_id,timestamp\n4,5,1000000000\n")
        info = file.infolist()[1]
    data = bytearray(place.read_bytes())
    begins, in_directory = info.header_offset, data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    if damage == "flipped":
        middle = begins + 30 + len(name) + info.compress_size // 2
        data[middle : middle + 64] = b"\xff" * 64
    elif damage == "encrypted":
        data[begins + 6] |= 1
        data[in_directory + 8] |= 1
    else:
        data[begins + 8] = data[in_directory + 10] = 77
    place.write_bytes(bytes(data))
    found = rows_of(place)
    assert {row["user_id"] for row in found if row["reason"] is None and row["file"] is None} >= {1, 4}
    lost = [row for row in found if row["reason"] in ("unreadable_file", "other_schema")]
    assert [row["file"] for row in lost] == [f"{place}/{name}"]


@pytest.mark.parametrize(
    ("name", "content", "mode", "message"),
    [
        ("../../log.csv", b"x", 0, r"'\.\./\.\./log\.csv' leads out of it"),
        ("a/..\\..\\log.csv", b"x", 0, "leads out of it"),
        ("/etc/log.csv", b"x", 0, "leads out of it"),
        ("C:/log.csv", b"x", 0, "leads out of it"),
        ("log.csv", b"/etc/passwd", stat.S_IFLNK | 0o777, "is a link"),
        ("log.csv", bytes(2**24), 0, r"unpacks from \d\d,\d{3} bytes to 16,777,216"),
    ],
)
def test_members_that_no_log_has_are_refused(tmp_path, name, content, mode, message):
    place, info = tmp_path / "log.zip", zipfile.ZipInfo(name)
    info.filename, info.external_attr, info.compress_type = name, mode << 16, zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(place, "w") as file:
        file.writestr("a.csv", "user_id,item_id,timestamp\n1,2,1000000000\n")
        file.writestr(info, content)
    with pytest.raises(UserError, match=rf"log\.zip is refused, as its member .*{message}"):
        storage.list_archive(str(place))


def test_links_out_of_a_log_are_refused_and_links_within_it_are_not(tmp_path):
    inside, outside = tmp_path / "log", tmp_path / "other"
    for folder in (inside / "a", outside):
        folder.mkdir(parents=True)
        (folder / "log.csv").write_text("x")
    (inside / "again.csv").symlink_to(inside / "a" / "log.csv")
    (tmp_path / "named").symlink_to(inside)
    for place in (inside, tmp_path / "named", inside / "again.csv", tmp_path / "nowhere"):
        storage.refuse_links_out(str(place))
    for name, target in {"file.csv": outside / "log.csv", "folder": outside, "loop": inside, "up": tmp_path}.items():
        link = inside / "a" / name
        link.symlink_to(target)
        with pytest.raises(UserError, match=rf"{name} is a link that leads out of"):
            storage.refuse_links_out(str(inside))
        link.unlink()
