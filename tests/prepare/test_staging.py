"""Staged files give back what was written, slice by slice and range by range."""

import pyarrow as pa
import pytest

from ray_userrep.errors import UserError
from ray_userrep.prepare import staging
from ray_userrep.prepare.staging import read_rows, read_slices, write_rows, write_slices

TABLE = pa.table({"id": pa.array([2**60 + row for row in range(10)]), "text": [f"row {row}" for row in range(10)]})


def test_slices_come_back_and_empty_ones_are_none(tmp_path):
    uri = str(tmp_path / "slices")
    write_slices(uri, TABLE, [0, 4, 4, 10])
    assert read_slices([uri, uri], 0) == [TABLE.slice(0, 4)] * 2
    assert read_slices([uri], 1) == []
    assert read_slices([uri], 2) == [TABLE.slice(4)]


def test_any_range_of_rows_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(staging, "SLICE_ROWS", 3)
    uri = str(tmp_path / "rows")
    write_rows(uri, TABLE)
    for low in range(11):
        for high in range(low, 11):
            found = read_rows(uri, low, high)
            assert (found is None) if low == high else (found == TABLE.slice(low, high - low))


def test_a_file_in_an_object_store(s3_uri):
    write_slices(f"{s3_uri}/slices", TABLE, [0, 4, 10])
    assert read_slices([f"{s3_uri}/slices"], 1) == [TABLE.slice(4)]


def test_a_missing_file_is_a_clear_error(tmp_path):
    with pytest.raises(UserError, match="nothing here"):
        read_slices([str(tmp_path / "gone")], 0)
