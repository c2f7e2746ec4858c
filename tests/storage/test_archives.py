"""Zip archives as folders: members listed and read, packed or not, here and in an object store."""

import gzip
import zipfile

import pytest

from ray_userrep import storage
from ray_userrep.errors import UserError
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
    rows = open_logs(LogsConfig(uri=uri)).interactions.take_all()
    assert sorted((row["user_id"], row["item_id"]) for row in rows) == [(1, 2), (4, 5)]
