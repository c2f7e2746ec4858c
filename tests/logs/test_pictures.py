"""Pictures named by item id join the table of items; what cannot be used is left out, counted and named."""

import io
import tarfile
import zipfile

import pyarrow as pa
import pytest

from ray_userrep.errors import UserError
from ray_userrep.logs.listing import image_files, log_files
from ray_userrep.logs.numbers import told
from ray_userrep.logs.pictures import named_pictures, usable_pictures, with_pictures
from ray_userrep.recipe.logs import LogsConfig
from tests.pictures import drawn

FILES = {"3.png": drawn(3), "1.jpg": drawn(1, "JPEG"), "notes.txt": b"no picture"}


def placed(kind, tmp_path):
    """The files in a folder, a tar or a zip."""
    if kind == "folder":
        for name, data in FILES.items():
            (tmp_path / name).write_bytes(data)
        return str(tmp_path)
    place = tmp_path / f"pictures.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(place, "w") as archive:
            for name, data in FILES.items():
                archive.writestr(f"deep/{name}", data)
        return str(place)
    with tarfile.open(place, "w:gz" if kind == "tar.gz" else "w") as archive:
        for name, data in FILES.items():
            member = tarfile.TarInfo(f"../{name}")  # nothing is unpacked, wherever it would lead
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return str(place)


@pytest.mark.parametrize("kind", ["folder", "tar", "tar.gz", "zip"])
def test_pictures_are_found_by_the_names_of_their_files(kind, tmp_path):
    found = named_pictures(placed(kind, tmp_path), pa.int64())
    assert dict(zip(found["item_id"].to_pylist(), found["image"].to_pylist(), strict=True)) == {
        1: FILES["1.jpg"],
        3: FILES["3.png"],
    }


def test_they_join_the_table_of_items_and_bring_items_along(tmp_path):
    found = named_pictures(placed("tar", tmp_path), pa.int64())
    items = with_pictures(pa.table({"item_id": [2, 3], "text": ["two", "three"]}), found)
    assert items.to_pylist() == [
        {"item_id": 2, "text": "two", "image": None},
        {"item_id": 3, "text": "three", "image": FILES["3.png"]},
        {"item_id": 1, "text": None, "image": FILES["1.jpg"]},
    ]
    assert with_pictures(None, found) is found


def test_what_cannot_be_used_is_left_out_counted_and_named():
    items = pa.table({"item_id": ["a", "b", "c"], "image": [drawn(1), b"", b"<html>"]})
    kept, lost = usable_pictures(items)
    assert kept["image"].to_pylist() == [drawn(1), None, None]
    assert lost.count == 2 and lost.examples[0] == "item b: 0 bytes" and "item c: no picture" in lost.examples[1]
    assert "2 values cannot be read as pictures, as item b: 0 bytes; item c" in told("image of items", lost)
    links = pa.table({"item_id": ["a"], "image": ["https://a.b/c.jpg"]})
    assert usable_pictures(links) == (links, None)


def test_pictures_in_the_folder_of_the_log_are_no_part_of_it(tmp_path):
    placed("tar", tmp_path)
    (tmp_path / "clicks.csv").write_text("user_id,item_id,timestamp\n1,1,1\n")
    config = LogsConfig(uri=str(tmp_path), images=str(tmp_path / "pictures.tar"))
    _, files = log_files(config)
    assert [file.uri.rsplit("/", 1)[-1] for file in files] == ["clicks.csv"]
    assert [file.uri.rsplit("/", 1)[-1] for file in image_files(config)] == ["pictures.tar"]


def test_a_place_without_pictures_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(UserError, match=r"logs\.images: no file in .* is named as a picture"):
        named_pictures(str(tmp_path), pa.int64())
    (tmp_path / "x.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(UserError, match=r"cannot be read as a tar archive"):
        named_pictures(str(tmp_path / "x.tar"), pa.int64())
